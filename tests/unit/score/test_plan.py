"""What a scoring run refuses before anything runs."""

from pathlib import Path

import pyarrow.fs as pafs
import pytest

from flows.errors import WatchkeeperError
from flows.etl.source_files import Source
from flows.score.plan import refuse_out_of_reach
from tests.factories import settings_of

HERE = Source(pafs.LocalFileSystem(), "/pictures")
BUCKET = Source(pafs.SubTreeFileSystem("bucket", pafs.LocalFileSystem()), "bucket/pictures")
ARCHIVE = "s3://bucket/environment.tar.gz"


def test_pictures_of_this_machine_are_not_for_emr(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, emr_archive=ARCHIVE)
    refuse_out_of_reach(settings, HERE, "local")
    with pytest.raises(WatchkeeperError, match=r"/pictures cannot be read by emr: .*--source s3:"):
        refuse_out_of_reach(settings, HERE, "emr")


def test_emr_needs_the_packed_environment(tmp_path: Path) -> None:
    refuse_out_of_reach(settings_of(tmp_path, emr_archive=ARCHIVE), BUCKET, "emr_serverless")
    with pytest.raises(WatchkeeperError, match=r"task aws:package.*WATCHKEEPER_EMR_ARCHIVE"):
        refuse_out_of_reach(settings_of(tmp_path), BUCKET, "emr_serverless")
