"""`task maintain`: compact, expire and sweep every table of the lake."""

from flows.config import load_settings
from flows.console import mebibytes, out
from flows.errors import run_command
from flows.session import session


def main() -> int:
    """Run the flow and say what it did."""
    with session(load_settings()):
        from flows.etl.maintain import maintain

        done = maintain()
    for name, upkeep in done.items():
        out.print(
            f"[bold]{name}[/]: {upkeep.files_rewritten:,} files rewritten as {upkeep.files_written:,}, "
            f"{upkeep.snapshots_expired:,} snapshots expired, {upkeep.files_removed:,} files removed "
            f"({mebibytes(upkeep.bytes_removed)})",
            soft_wrap=True,
        )
        for note in upkeep.notes:
            out.print(f"  {note}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    run_command(main)
