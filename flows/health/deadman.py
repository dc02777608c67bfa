"""`task deadman`: says when the watch of this home has fallen silent."""

from flows.config import load_settings
from flows.errors import run_command
from flows.health.parts import PARTS
from observability.slack.deadman import run


def main() -> int:
    """Look until told to end."""
    settings = load_settings()
    return run(settings, settings.run / "deadman", settings.run / "watch" / PARTS)


if __name__ == "__main__":
    run_command(main)
