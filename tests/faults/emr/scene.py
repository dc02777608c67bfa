"""One fault in the life of one flow run: it happens, the run is run again, and the promises are looked at."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flows.config import CHECKOUT
from tests.factories import content_hash, retail_row, run_table, settings_of, shipped, wait_until, write_csv
from tests.faults.emr.cases import OUTAGE, Case
from tests.faults.emr.prefect_server import PrefectServer
from tests.stack.cloud import BUCKET, Cloud
from tests.stack.emr_server.errors import ApiError, LostAnswerError

CONTRACT = shipped("online_retail.transactions")
TRIES = 8
"""More than the runner's client asks by itself."""
PATIENCE = 600
"""Seconds for one flow run on a busy machine."""
GONE_SECONDS = 60
"""After the re-run, until nothing is left."""


@dataclass
class Scene:
    """One case on the servers that all share; its home and its place in the bucket are its own."""

    case: Case
    cloud: Cloud
    prefect: PrefectServer
    folder: Path
    outage_seconds: float
    reached: threading.Event = field(default_factory=threading.Event)
    worker: "subprocess.Popen[bytes] | None" = None
    cluster: str | None = None

    def play(self) -> None:
        """The whole case."""
        self.cloud.forget_tables()
        source = write_csv(self.folder / "in" / "a.csv", [retail_row(), retail_row(Quantity=7)]).parent
        if self.case.shared_cluster:
            self.cluster = self.start_cluster()
        run = self.prefect.new_run(dataset="online_retail", source=str(source))
        first = len(self.cloud.emr.ledger.entries)
        self.arm(first)
        self.first_try(run)
        self.cloud.emr.faults.clear()
        assert self.reached.is_set(), f"{self.case}: the edge was never reached\n{self.log}"
        code = 0 if self.case.fault == OUTAGE else self.work(run)
        assert code == 0, f"{self.case}: the re-run failed\n{self.log}"
        self.look(first, source)

    @property
    def log(self) -> str:
        """The end of what the worker said."""
        return (self.folder / "worker.log").read_text(errors="replace")[-3000:]

    # The fault

    def arm(self, first: int) -> None:
        """Order the fault."""
        case, faults = self.case, self.cloud.emr.faults
        if case.edge == "commit":
            self.reached.set()  # the worker's own process does it, and its end is looked at
            return
        assert case.operation
        if case.edge == "cancel":
            poll = "GetJobRun" if case.runner == "emr_serverless" else "DescribeStep"
            faults.at(poll, self.ask_to_stop, after=True, when=lambda: self.runs(first))
        faults.at(
            case.operation,
            self.happen,
            after=case.when == "after",
            times=TRIES if case.fault == "fail" else 1,
            when=(lambda: self.ended(first)) if case.edge == "success" else (lambda: True),
        )

    def runs(self, first: int) -> bool:
        """Whether the job has a process."""
        return any(entry.processes for entry in self.cloud.emr.ledger.entries[first:])

    def ended(self, first: int) -> bool:
        """Whether the job is done."""
        entries = self.cloud.emr.ledger.entries[first:]
        return bool(entries) and all(entry.ended() for entry in entries)

    def ask_to_stop(self) -> None:
        """As a worker whose flow run was cancelled asks the flow's process."""
        assert self.worker
        self.worker.send_signal(signal.SIGTERM)

    def happen(self) -> None:
        """The fault itself, in the middle of a call."""
        self.reached.set()
        if self.case.fault == "kill":
            assert self.worker
            os.kill(self.worker.pid, signal.SIGKILL)
            self.worker.wait(30)
        if self.case.fault == "fail" and self.case.when == "before":
            raise ApiError("ExpiredTokenException", "The security token included in the request is expired")
        if self.case.fault != OUTAGE:
            raise LostAnswerError

    # The tries

    def first_try(self, run: str) -> None:
        """Run the flow run into its fault."""
        spoil = [f"{self.case.when} {self.case.fault}"] if self.case.edge == "commit" else []
        with ExitStack() as stack:
            if self.case.fault == OUTAGE:
                outage = threading.Thread(target=self.outage)
                outage.start()
                stack.callback(outage.join)
            code = self.work(run, *spoil)
        if self.case.fault == "kill":
            assert code == -signal.SIGKILL, f"{self.case}: exit {code}\n{self.log}"
        elif self.case.fault == OUTAGE:
            assert code == 0, f"{self.case}: exit {code}\n{self.log}"

    def outage(self) -> None:
        """Prefect's server goes away when the edge is reached, and comes back."""
        if self.reached.wait(PATIENCE):
            self.prefect.stop()
            time.sleep(self.outage_seconds)  # the length of the outage is the case, not a wait for something
            self.prefect.start()

    def work(self, run: str, *spoil: str) -> int:
        """A worker's process for the flow run, to its end; returns its exit code."""
        more = {"WATCHKEEPER_EMR_CLUSTER": self.cluster} if self.cluster else {}
        application = f"faults-{self.folder.name}"
        environment = self.cloud.environment(
            self.folder / "home",
            self.case.runner,
            self.folder.name,
            PYTHONPATH=str(CHECKOUT),
            WATCHKEEPER_PREFECT_API_URL=self.prefect.url,
            WATCHKEEPER_EMR_SERVERLESS_APPLICATION=application,
            **more,
        )
        command = [sys.executable, "-m", "tests.faults.emr.worker", run, *spoil]
        with (self.folder / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        try:
            return self.worker.wait(PATIENCE)
        finally:
            self.worker.kill()

    # The promises

    def look(self, first: int, source: Path) -> None:
        """Nothing left, never two, and the table that an undisturbed run makes."""
        server = self.cloud.emr
        left = [self.cluster] if self.cluster else []
        wait_until(lambda: server.live() == left, f"{self.case}: nothing of ours to be left", GONE_SECONDS)
        entries = server.ledger.entries[first:]
        assert [entry.beside for entry in entries] == [[] for _ in entries], f"{self.case}: two at once"
        if self.case.fault == "kill" and self.case.edge != "cancel":
            assert len(entries) == 1, f"{self.case}: a job that lived, or had done its work, was not adopted"
        assert self.content() == self.undisturbed(source), f"{self.case}: the table is another one"
        if self.cluster:
            server.ec2.terminate_job_flows({"JobFlowIds": [self.cluster]})
            wait_until(lambda: server.live() == [], "the shared cluster's end", GONE_SECONDS)

    def content(self) -> str:
        """Of the table in the store."""
        with pytest.MonkeyPatch.context() as patch:
            self.cloud.lead_here(patch, self.folder / "reader", self.folder.name)
            settings = settings_of(self.folder / "reader", store=f"s3://{BUCKET}/{self.folder.name}")
            return content_hash(settings, CONTRACT.identifier)

    def undisturbed(self, source: Path) -> str:
        """Of the table that local Spark makes."""
        settings = settings_of(self.folder / "undisturbed")
        run_table(settings, CONTRACT, source)
        return content_hash(settings, CONTRACT.identifier)

    def start_cluster(self) -> str:
        """A cluster of the user's own, for steps."""
        asked = {
            "Name": "shared",
            "ReleaseLabel": "emr-7.12.0",
            "LogUri": f"s3://{BUCKET}/{self.folder.name}/emr/",
            "Instances": {"KeepJobFlowAliveWhenNoSteps": True},
        }
        made = str(self.cloud.emr.ec2.run_job_flow(asked)["JobFlowId"])
        wait_until(lambda: self.cloud.emr.ec2.cluster(made).state == "WAITING", "the shared cluster", 60)
        return made
