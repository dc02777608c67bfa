"""The operations of EMR Serverless; the name of each is the service's, in this language's spelling."""

import secrets
import shlex
import string
from collections.abc import Iterable
from typing import Any, TypeVar

from tests.stack.emr_server.applications import TYPES, Application
from tests.stack.emr_server.clock import Clock
from tests.stack.emr_server.errors import ApiError
from tests.stack.emr_server.faults import Faults
from tests.stack.emr_server.job_runs import JobRun
from tests.stack.emr_server.ledger import Entry, Ledger
from tests.stack.emr_server.logs import Logs
from tests.stack.emr_server.spark import SparkHost
from tests.stack.emr_server.submission import Submission

ACCOUNT = "123456789012"
PAGE = 50
Asked = dict[str, Any]
T = TypeVar("T", Application, JobRun)


class Serverless:
    """Applications and their job runs."""

    def __init__(self, host: SparkHost, clock: Clock, faults: Faults, ledger: Ledger, url: str) -> None:
        self.host, self.clock, self.faults, self.ledger, self.url = host, clock, faults, ledger, url
        self.applications: dict[str, Application] = {}
        self.runs: dict[str, JobRun] = {}

    def close(self) -> None:
        for run in self.runs.values():
            run.close()

    # Applications

    def create_application(self, asked: Asked) -> Asked:
        if asked["type"].lower() not in TYPES:
            raise ApiError("ValidationException", f"type {asked['type']!r} is not one of SPARK, HIVE")
        held = same_token(self.applications.values(), asked)
        application = held or self._new_application(asked)
        told = {"applicationId": application.id, "arn": application.arn}
        return told | ({"name": asked["name"]} if "name" in asked else {})

    def _new_application(self, asked: Asked) -> Application:
        made = new_id()
        application = Application(made, self.arn(f"applications/{made}"), asked, self.clock)
        application.busy = lambda: any(
            r.application is application and not r.done for r in self.runs.values()
        )
        self.applications[made] = application
        return application

    def get_application(self, asked: Asked) -> Asked:
        return {"application": self.application(asked).describe()}

    def list_applications(self, asked: Asked) -> Asked:
        found = [a for a in self.applications.values() if a.state in asked.get("states", [a.state])]
        return page("applications", found, asked)

    def start_application(self, asked: Asked) -> Asked:
        self.application(asked).start()
        return {}

    def stop_application(self, asked: Asked) -> Asked:
        self.application(asked).stop()
        return {}

    def delete_application(self, asked: Asked) -> Asked:
        self.application(asked).delete()
        return {}

    def update_application(self, asked: Asked) -> Asked:
        application = self.application(asked)
        application.update({k: v for k, v in asked.items() if k not in ("applicationId", "clientToken")})
        return {"application": application.describe()}

    def application(self, asked: Asked) -> Application:
        """The one that a request names."""
        named = asked["applicationId"]
        if named not in self.applications:
            raise ApiError("ResourceNotFoundException", f"Application {named} does not exist")
        return self.applications[named]

    # Job runs

    def start_job_run(self, asked: Asked) -> Asked:
        application = self.application(asked)
        ours = (run for run in self.runs.values() if run.application is application)
        run = same_token(ours, asked) or self._new_run(application, asked)
        return {"applicationId": application.id, "jobRunId": run.id, "arn": run.arn}

    def _new_run(self, application: Application, asked: Asked) -> JobRun:
        driver = asked.get("jobDriver", {}).get("sparkSubmit")
        if driver is None:
            raise ApiError(
                "ValidationException", "jobDriver.sparkSubmit must be given: this server runs Spark"
            )
        if "executionRoleArn" not in asked:
            raise ApiError("ValidationException", "executionRoleArn must be given")
        submission = self._submission(application, asked, driver)
        application.accept_job()
        made = new_id()
        entry = self.ledger.enter(
            Entry(
                id=made,
                parent=application.id,
                token=asked["clientToken"],
                tags=lambda: (self.runs[made].asked if made in self.runs else asked).get("tags", {}),
                asked=asked,
                ended=lambda: made in self.runs and self.runs[made].done,
            )
        )
        run = JobRun(
            id=made,
            arn=f"{application.arn}/jobruns/{made}",
            application=application,
            request=asked,
            submission=submission,
            host=self.host,
            clock=self.clock,
            logs=Logs(self.host.s3, log_uri(application.asked, asked)),
            faults=self.faults.job(),
            entry=entry,
            region=self.host.s3.region,
        )
        self.runs[made] = run
        run.thread.start()
        return run

    def _submission(self, application: Application, asked: Asked, driver: Asked) -> Submission:
        overrides = asked.get("configurationOverrides", {}).get("applicationConfiguration", [])
        try:
            return Submission.of(
                shlex.split(driver.get("sparkSubmitParameters", "")),
                driver["entryPoint"],
                driver.get("entryPointArguments", []),
                spark_defaults([*application.asked.get("runtimeConfiguration", []), *overrides]),
            )
        except ValueError as error:
            raise ApiError("ValidationException", f"sparkSubmitParameters: {error}") from None

    def get_job_run(self, asked: Asked) -> Asked:
        return {"jobRun": self.run(asked).describe()}

    def list_job_runs(self, asked: Asked) -> Asked:
        application = self.application(asked)
        found = [
            run
            for run in self.runs.values()
            if run.application is application
            and run.state in asked.get("states", [run.state])
            and run.created_at >= asked.get("createdAtAfter", run.created_at)
            and run.created_at <= asked.get("createdAtBefore", run.created_at)
        ]
        return page("jobRuns", found[::-1], asked)

    def cancel_job_run(self, asked: Asked) -> Asked:
        run = self.run(asked)
        run.cancel()
        return {"applicationId": run.application.id, "jobRunId": run.id}

    def get_dashboard_for_job_run(self, asked: Asked) -> Asked:
        return {"url": f"{self.url}/spark/{self.run(asked).id}"}

    def run(self, asked: Asked) -> JobRun:
        """The one that a request names."""
        named = asked["jobRunId"]
        if named not in self.runs or self.runs[named].application is not self.application(asked):
            raise ApiError("ResourceNotFoundException", f"Job run {named} does not exist")
        return self.runs[named]

    # Tags

    def tag_resource(self, asked: Asked) -> Asked:
        self._tags(asked).update(asked["tags"])
        return {}

    def untag_resource(self, asked: Asked) -> Asked:
        for key in asked["tagKeys"]:
            self._tags(asked).pop(key, None)
        return {}

    def list_tags_for_resource(self, asked: Asked) -> Asked:
        return {"tags": self._tags(asked)}

    def _tags(self, asked: Asked) -> dict[str, str]:
        known: list[Application | JobRun] = [*self.applications.values(), *self.runs.values()]
        for resource in known:
            if resource.arn == asked["resourceArn"]:
                found: dict[str, str] = resource.asked.setdefault("tags", {})
                return found
        raise ApiError("ResourceNotFoundException", f"{asked['resourceArn']} does not exist")

    def arn(self, path: str) -> str:
        return f"arn:aws:emr-serverless:{self.host.s3.region}:{ACCOUNT}:/{path}"


def new_id() -> str:
    """An id as the service makes them."""
    return "00" + "".join(secrets.choice(string.ascii_lowercase[:22] + string.digits) for _ in range(14))


def same_token(known: Iterable[T], asked: Asked) -> T | None:
    """What was made for the very same request; a token may not be used for another one."""
    for made in known:
        if made.request["clientToken"] == asked["clientToken"]:
            if made.request != asked:
                raise ApiError(
                    "ConflictException", f"clientToken {asked['clientToken']} was used for another request"
                )
            return made
    return None


def spark_defaults(configurations: list[Asked]) -> dict[str, str]:
    """Spark's settings in a list of the service's classifications."""
    found: dict[str, str] = {}
    for item in configurations:
        if item["classification"] == "spark-defaults":
            found |= item.get("properties", {})
    return found


def log_uri(*requests: Asked) -> str:
    """Where logs go: what the last request says that says anything."""
    found = ""
    for request in requests:
        monitoring = request.get("configurationOverrides", request).get("monitoringConfiguration", {})
        found = monitoring.get("s3MonitoringConfiguration", {}).get("logUri", found)
    return found


def page(name: str, found: list[T], asked: Asked) -> Asked:
    """A page of summaries, and where the next one begins."""
    first, size = int(asked.get("nextToken", "0")), asked.get("maxResults", PAGE)
    answer: Asked = {name: [item.summary() for item in found[first : first + size]]}
    return answer | ({"nextToken": str(first + size)} if len(found) > first + size else {})
