"""`task health`: ask every dependency now; exit code 1 where one fails."""

from flows.config import load_settings
from flows.console import out
from flows.errors import run_command
from flows.session import session

COLOURS = {"good": "green", "failing": "red", "skipped": "yellow"}


def main() -> int:
    """Run the flow and say what it found."""
    with session(load_settings()):
        from flows.health.flow import health

        results = health()
    for each in results:
        said = f"[{COLOURS[each.outcome]}]{each.outcome:<8}[/] {each.seconds:6.2f} s"
        out.print(f"{each.probe:<11} {said}  ", end="")
        out.print(each.said, markup=False, soft_wrap=True)
    return int(any(each.outcome == "failing" for each in results))


if __name__ == "__main__":
    run_command(main)
