"""Run the score flow and die by SIGKILL at one point: `python -m tests.faults.killed_score POINT SOURCE`."""

import sys
from collections.abc import Callable

from flows.config import Settings, load_settings
from flows.session import session
from tests.faults.killed_etl import after, before, when_spark_has_written


def arm(point: str, settings: Settings) -> None:
    """Prepare one way to die; must run inside the session, since it imports the flow."""
    from sqlalchemy.orm import Session

    from flows.etl import steps as etl
    from flows.etl.runners.life import Engine
    from flows.score.plan import Scoring

    points: dict[str, Callable[[], None]] = {
        "after land": lambda: after(Scoring, "plan"),
        "while Spark writes": lambda: when_spark_has_written(settings),
        "after Spark": lambda: after(Engine, "run"),
        "after the verdict": lambda: after(etl, "reach_verdict"),
        "before the catalog's row": lambda: before(Session, "commit"),
        "after the catalog's row": lambda: after(Session, "commit"),
    }
    points[point]()


def main(point: str, source: str) -> None:
    """Run the flow until it dies; returning from here is the test's failure."""
    settings = load_settings()
    with session(settings):
        from flows.score.flow import score

        arm(point, settings)
        score(source)


if __name__ == "__main__":
    main(*sys.argv[1:])
    print("still alive: passed the point without dying", file=sys.stderr)
