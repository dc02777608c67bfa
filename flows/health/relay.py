"""`task relay`: alerts and flow events of this home go to people through it."""

from flows.config import load_settings
from flows.errors import run_command
from observability.slack.relay import run


def main() -> int:
    """Answer and deliver until told to end."""
    settings = load_settings()
    return run(settings, settings.run / "relay", settings.run / "events")


if __name__ == "__main__":
    run_command(main)
