"""`task score`: have the champion label every picture below a folder or prefix, from the command line."""

import argparse

from flows.config import load_settings
from flows.console import out
from flows.errors import run_command
from flows.etl.source_files import open_source
from flows.score.champion import version_of
from flows.score.images import images_of
from flows.session import session
from services.bento.registry import Registry, model_meant
from services.bento.store import open_store


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    args = argparse.ArgumentParser(prog="task score --", description=__doc__)
    args.add_argument("--source", required=True, help="a folder, a glob or an s3:// prefix")
    args.add_argument("--model", help="the model's name; that which was promoted last unless said")
    args.add_argument("--replay", action="store_true", help="try the quarantined pictures again too")
    return args


def main() -> int:
    """Run the flow and print its summary."""
    given = parser().parse_args()
    settings = load_settings()
    # What is wrong with the arguments is said before Prefect takes its seconds to start.
    store = open_store(settings.registry)
    model = model_meant(store, given.model)
    version = version_of(Registry(store, model))
    images_of(open_source(given.source))
    if given.model is None:
        out.print(f"model {model}, promoted last: version {version}", soft_wrap=True)
    with session(settings):
        from flows.score.flow import score
        from flows.score.report import print_summary

        summary = score(given.source, model, given.replay)
    print_summary(summary.tables)
    return 0


if __name__ == "__main__":
    run_command(main)
