"""A watched flow with one task, once good and once bad: `python -m tests.integration.told_flow`."""

from dataclasses import dataclass

from flows.config import load_settings
from flows.session import session


@dataclass
class Counted:
    rows: int

    def figures(self) -> dict[str, str]:
        return {"rows": f"{self.rows:,}"}


def main() -> None:
    """Run it twice."""
    with session(load_settings()):
        from prefect import flow, task

        from flows.watched import watched, watched_task

        @watched_task
        @task(name="fetch", persist_result=False)
        def fetch(bad: bool) -> int:
            if bad:
                raise OSError("the source is gone")
            return 12_345

        @watched
        @flow(name="told", persist_result=False)
        def told(bad: bool) -> Counted:
            return Counted(fetch(bad))

        told(bad=False)
        told(bad=True, return_state=True)


if __name__ == "__main__":
    main()
