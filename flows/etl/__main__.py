"""`task etl`: bring a data set's files into the lake, from the command line."""

import argparse
from datetime import date

from flows.config import Settings, load_settings
from flows.errors import WatchkeeperError, run_command
from flows.etl.datasets import load_dataset, with_event_time
from flows.etl.source_files import refuse_empty_source
from flows.session import session


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    args = argparse.ArgumentParser(prog="task etl --", description=__doc__)
    args.add_argument("--dataset", required=True, help="a folder of flows/etl/contracts")
    args.add_argument(
        "--source", help="a folder, a glob or an s3:// prefix; landing/<dataset> of the home unless said"
    )
    args.add_argument(
        "--from", dest="start", type=date.fromisoformat, metavar="DAY", help="first day to rebuild"
    )
    args.add_argument("--to", dest="end", type=date.fromisoformat, metavar="DAY", help="last day to rebuild")
    args.add_argument("--rebuild", action="store_true", help="process the source files of these days again")
    return args


def check_input(settings: Settings, dataset: str, source: str | None, rebuild: bool) -> None:
    """Say what is wrong with the arguments before Prefect takes its seconds to start."""
    contracts = load_dataset(settings.contracts, dataset)
    if rebuild:
        contracts = with_event_time(contracts)
    if source is not None:
        refuse_empty_source(contracts, source)


def main() -> int:
    """Run the flow and print its summary."""
    args = parser().parse_args()
    if args.rebuild != bool(args.start and args.end) or bool(args.start) != bool(args.end):
        raise WatchkeeperError("--rebuild, --from DAY and --to DAY go together")
    if args.start and args.start > args.end:
        raise WatchkeeperError(f"--from {args.start} is after --to {args.end}")
    settings = load_settings()
    source = args.source or (None if args.rebuild else str(settings.landing / args.dataset))
    check_input(settings, args.dataset, source, args.rebuild)
    with session(settings):
        from flows.etl.flow import etl
        from flows.etl.report import print_summary

        summary = etl(args.dataset, source, rebuild_from=args.start, rebuild_to=args.end)
    print_summary(summary.tables)
    return 0


if __name__ == "__main__":
    run_command(main)
