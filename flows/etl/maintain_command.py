"""`task maintain`: compact, expire and sweep every table of the lake."""

from flows.config import load_settings
from flows.console import mebibytes, out, reporter
from flows.errors import run_command
from flows.prefect_env import apply_prefect_environment


def main() -> int:
    """Run the flow and say what it did."""
    apply_prefect_environment(load_settings())
    from flows.etl.maintain import maintain

    with reporter.shown():
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
