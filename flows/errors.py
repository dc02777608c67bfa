"""The errors a user can cause, as the flows import them."""

from observability.errors import WatchkeeperError, in_words, run_command

__all__ = ["WatchkeeperError", "in_words", "run_command"]
