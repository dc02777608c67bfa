"""Deployments that clone a repository: a push is what the next run uses, the Spark job included."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.etl.lake import Lake
from tests.checkout import Checkout
from tests.factories import retail_row, write_csv

pytestmark = pytest.mark.timeout(900)

JOB = "flows/etl/spark_job.py"
FLOW = "flows/etl/flow.py"


class Cloning(Checkout):
    """A worker's checkout whose settings are in its `.env`, and a bare repository beside it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {})
        self.bare, self.work = folder / "ours.git", folder / "work"
        told = {"HOME": self.settings.home, "REPOSITORY": self.bare.as_uri(), "BRANCH": "live"}
        text = "".join(f"WATCHKEEPER_{name}={value}\n" for name, value in told.items())
        (self.folder / ".env").write_text(text)
        git("init", "--quiet", "--bare", str(self.bare))
        git("init", "--quiet", "--initial-branch=live", str(self.work))
        for layer in ("flows", "services", "observability"):
            (self.folder / layer).rename(self.work / layer)
        self.push("revision 1")
        # What the worker has itself is of another time.
        git("clone", "--quiet", "--branch=live", str(self.bare), str(folder / "kept"))
        for layer in ("flows", "services", "observability"):
            (folder / "kept" / layer).rename(self.folder / layer)

    @property
    def environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith("WATCHKEEPER_")}

    def push(self, said: str) -> None:
        """What stands in the working folder, with a flow that says which revision it is."""
        flow = self.work / FLOW
        kept = flow.read_text()
        flow.write_text(f'{kept}\n\nprint("{said} of the flow is", __file__, flush=True)\n')
        git("-C", str(self.work), "add", "--all")
        who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        git("-C", str(self.work), *who, "commit", "--quiet", "--message", said)
        git("-C", str(self.work), "push", "--quiet", str(self.bare), "live")
        flow.write_text(kept)

    def run_once(self) -> str:
        """What the worker says of one run of the ETL."""
        self.run("flows.prefect_cli", "deployment", "run", "etl/etl-online-retail")
        return self.run("flows.prefect_cli", "worker", "start", "--run-once")


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, stdin=subprocess.DEVNULL)


@pytest.fixture
def cloning(tmp_path: Path) -> Iterator[Cloning]:
    with Cloning(tmp_path).deployed() as made:
        yield made


def test_a_push_is_what_the_next_run_uses_the_spark_job_included(cloning: Cloning) -> None:
    landing = cloning.settings.landing / "online_retail"
    write_csv(landing / "first.csv", [retail_row(InvoiceNo=number) for number in range(4)])
    (cloning.folder / JOB).write_text("raise RuntimeError('the job of the worker itself')\n")
    said = cloning.run_once()
    assert "revision 1 of the flow is" in said
    states = [run["state"] for run in cloning.ask("/flow_runs/filter", sort="START_TIME_ASC")]
    assert [state["type"] for state in states] == ["COMPLETED"], states
    table = Lake(cloning.settings).table("online_retail.transactions")
    assert table is not None
    assert table.scan().to_arrow().num_rows == 4

    write_csv(landing / "second.csv", [retail_row(InvoiceNo=4)])
    (cloning.work / JOB).write_text("raise RuntimeError('the job as it was pushed')\n")
    cloning.push("revision 2")
    said = cloning.run_once()
    assert "revision 2 of the flow is" in said
    assert str(cloning.folder) not in "".join(line for line in said.splitlines() if "of the flow is" in line)
    states = [run["state"] for run in cloning.ask("/flow_runs/filter", sort="START_TIME_ASC")]
    assert states[1]["type"] == "FAILED"
    assert "the job as it was pushed" in states[1]["message"]
