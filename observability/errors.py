"""The errors that a user can cause, for every layer."""


class WatchkeeperError(Exception):
    """A user's mistake or a state of the world: the text names the thing, the value and the remedy."""
