"""The contender of a run that finds nothing new: an empty flow in the same session, as a process."""

from flows.config import load_settings
from flows.session import session

if __name__ == "__main__":
    with session(load_settings()):
        from prefect import flow

        @flow(name="empty", persist_result=False)
        def empty() -> None:
            """Nothing."""

        empty()
