"""`task retrain`: train on the lake's pictures and promote what is truly better."""

import argparse
from pathlib import Path

from flows.config import load_settings
from flows.errors import WatchkeeperError, run_command
from flows.retrain.config import load_config
from flows.retrain.dataset import contract_with_pictures
from flows.session import session


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    args = argparse.ArgumentParser(prog="task retrain --", description=__doc__)
    args.add_argument("--dataset", required=True, help="a folder of flows/etl/contracts with pictures")
    args.add_argument("--model", help="the model's name; the data set's unless said")
    args.add_argument("--snapshot", type=int, help="of the lake's table; the current one unless said")
    args.add_argument("--trials", type=int, default=0, help="search for a better configuration first")
    args.add_argument("--seed", type=int, default=0)
    args.add_argument("--config", type=Path, help="YAML file of training settings, such as `epochs: 20`")
    args.add_argument("--epochs", type=int, help="goes before the file's")
    return args


def main() -> int:
    """Run the flow and print its outcome; a verdict other than `promote` is no failure."""
    args = parser().parse_args()
    if args.trials < 0 or args.seed < 0:
        raise WatchkeeperError(f"--trials {args.trials} and --seed {args.seed} cannot be below 0")
    config = load_config(args.config, epochs=args.epochs)
    settings = load_settings()
    contract_with_pictures(settings, args.dataset)  # before Prefect takes its seconds to start
    with session(settings):
        from flows.retrain.flow import retrain
        from flows.retrain.report import print_outcome

        given = config.model_dump()
        outcome = retrain(args.dataset, args.model, args.snapshot, args.trials, args.seed, given)
    print_outcome(outcome)
    return 0


if __name__ == "__main__":
    run_command(main)
