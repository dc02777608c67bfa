"""What a scoring run has to do: the pictures, the scores that they replace, and the Spark job's arguments."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from flows.config import Settings
from flows.errors import WatchkeeperError
from flows.etl.contract import Contract
from flows.etl.inspect_file import jsonl
from flows.etl.job import kept_rows, partitions
from flows.etl.lake import Lake, files_of_sources
from flows.etl.plan import Plan, by_schema
from flows.etl.schema import field_ids, refuse_incompatible
from flows.etl.source_files import Source
from flows.etl.staged import count_kept
from flows.paths import write_whole
from flows.s3_path import AnyPath
from flows.score.champion import Champion
from flows.score.images import Mark, land_images
from services.bento.manifest import SESSION_FILES


@dataclass(frozen=True)
class Scoring:
    """What is asked: these pictures, scored by this champion."""

    settings: Settings
    contract: Contract
    champion: Champion
    source: Source
    replay: bool = False

    def plan(self, flow_run: str = "none") -> Plan:
        """Compare the source with the table of scores.

        Raises:
            WatchkeeperError: the source cannot be listed or has no picture.
        """
        lake = Lake(self.settings)
        base = lake.table(self.contract.identifier)
        if base is not None:
            refuse_incompatible(self.contract, base)
        known = lake.sources(base)
        landing = land_images(self.source, known, self.champion.version, self.replay)
        plan = Plan.of(self.settings, self.contract, base, landing, "score", known, flow_run)
        plan.replaced.extend(files_of_sources(base, plan.replaced_sources))
        return plan

    def describe(self, _settings: Settings, plan: Plan) -> dict[str, Any]:
        """The job's arguments; the pictures' paths stand in a file of their own, which the executors read."""
        listing = plan.folder / "images.jsonl"
        marks = ((a.path, Mark.parse(a.version)) for a in plan.landing.arrivals)
        rows: list[dict[str, object]] = [
            {"path": path, "article_id": mark.article_id} for path, mark in marks
        ]
        listing.write_text(jsonl(rows), encoding="utf-8")
        gone = plan.replaced_sources
        mixed = [file for file in plan.replaced if count_kept([file], gone)]
        return {
            "images": str(listing),
            "root": self.source.root,
            "on_s3": not isinstance(self.source.files, pafs.LocalFileSystem),
            "model": str(self.model_at(plan.folder)),
            "partitions": partitions(plan.contract),
            "sort": plan.contract.sort,
            # Without `except_sources`: the job leaves out what its listing names, which may be long.
            "kept": kept_rows(plan.contract, field_ids(plan.contract, plan.base), by_schema(mixed), []),
            "output": str(plan.output),
            "summary": str(plan.folder / "_summary.json"),
        }

    def model_at(self, folder: AnyPath) -> AnyPath:
        """The version where the executors can read it: where it is, or a copy beside a job on S3."""
        if isinstance(folder, Path):
            return self.champion.folder
        for name in SESSION_FILES:
            write_whole(folder / "model" / name, (self.champion.folder / name).read_bytes())
        return folder / "model"


def refuse_out_of_reach(settings: Settings, source: Source, runner: str) -> None:
    """Stop before anything runs where the executors will have neither pictures nor ONNX Runtime.

    Raises:
        WatchkeeperError: so it is.
    """
    if runner == "local":
        return
    if isinstance(source.files, pafs.LocalFileSystem):
        raise WatchkeeperError(
            f"pictures in {source.root} cannot be read by {runner}: copy them to a bucket and give "
            "--source s3://BUCKET/PREFIX, or score here with WATCHKEEPER_RUNNER=local"
        )
    if settings.emr_archive is None:
        raise WatchkeeperError(
            f"{runner} has no ONNX Runtime: run `task aws:package`, and set the WATCHKEEPER_EMR_ARCHIVE that "
            "it prints"
        )
