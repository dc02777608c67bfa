"""What every command that runs a flow stands in: steps shown, Prefect tied to this home and its server."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from flows.config import Settings
from flows.console import reporter
from flows.prefect_env import apply_prefect_environment
from flows.server import server


@contextmanager
def session(settings: Settings) -> Iterator[None]:
    """Use the shared server, the home's that runs, or one for the duration of the block.

    Import flows inside the block only: Prefect reads its settings as it is imported.
    """
    with reporter.shown(), ExitStack() as stack:
        with reporter.step("prefect · server"):
            stack.enter_context(server(settings))
            apply_prefect_environment(settings)
        yield
