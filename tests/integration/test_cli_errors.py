"""What a command says when it cannot begin: one message, exit code 2, at once, and nothing left behind."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from flows.config import CHECKOUT
from tests.factories import retail_row, write_csv

WITHOUT_ROOTS_POWERS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
"""Root passes over a file's mode; without these two capabilities it is held to it like everyone."""


def command(
    module: str, *arguments: str, held_to_modes: bool = False, settings: Mapping[str, str]
) -> tuple[int, str]:
    """Exit code and standard error of a command that must fail; it says nothing on standard output."""
    prefix = WITHOUT_ROOTS_POWERS if held_to_modes and os.geteuid() == 0 else []
    done = subprocess.run(
        [*prefix, sys.executable, "-m", module, *arguments],
        cwd=CHECKOUT,
        env=os.environ | dict(settings),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def etl(
    home: Path, *arguments: str, held_to_modes: bool = False, settings: Mapping[str, str] | None = None
) -> str:
    """The one message of an ETL that is refused before anything is made below its home."""
    existed, settings = home.exists(), {"WATCHKEEPER_HOME": str(home), **(settings or {})}
    code, said = command("flows.etl", *arguments, held_to_modes=held_to_modes, settings=settings)
    assert code == 2, said
    assert said.startswith("error: ")
    assert home.exists() == existed, "Prefect has not started, the lake is untouched"
    return said.removeprefix("error: ").rstrip("\n")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a file that would load."""
    write_csv(tmp_path / "in" / "a.csv", [retail_row()])
    return tmp_path / "in"


RETAIL = ("--dataset", "online_retail")
PATTERNS = "matches the data set's patterns: *.csv* (transactions)"


def test_a_data_set_without_contracts(tmp_path: Path) -> None:
    said = etl(tmp_path / "home", "--dataset", "nope")
    contracts = CHECKOUT / "flows" / "etl" / "contracts"
    assert (
        said
        == f"no data set 'nope': contracts exist for garments, hm, online_retail, serving (in {contracts})"
    )


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    said = etl(tmp_path / "home", *RETAIL, "--source", str(nowhere))
    assert said == f"source {nowhere} does not exist; --source takes a folder, a glob or an s3:// prefix"
    said = etl(tmp_path / "home", *RETAIL)
    assert said.startswith(f"source {tmp_path / 'home' / 'landing' / 'online_retail'} does not exist")


@pytest.mark.parametrize("pattern", ["", "/*.txt", "/2011-*"])
def test_a_source_without_a_file_of_the_data_set(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "readme.txt").touch()
    said = etl(tmp_path / "home", *RETAIL, "--source", f"{tmp_path / 'in'}{pattern}")
    assert said == f"no file of {tmp_path / 'in'}{pattern} {PATTERNS}"


def test_a_file_that_may_not_be_read(tmp_path: Path, source: Path) -> None:
    (source / "a.csv").chmod(0)
    said = etl(tmp_path / "home", *RETAIL, "--source", str(source), held_to_modes=True)
    assert said == f"file {source / 'a.csv'} cannot be read: permission denied; change its mode"


def test_a_folder_that_may_not_be_listed(tmp_path: Path, source: Path) -> None:
    (source / "sub").mkdir(mode=0)
    try:
        said = etl(tmp_path / "home", *RETAIL, "--source", str(source), held_to_modes=True)
    finally:
        (source / "sub").chmod(0o755)
    assert said.startswith(f"source {source} cannot be listed: ")
    assert "Permission denied" in said


CONTRACTS: dict[str, tuple[str, str]] = {
    "not YAML": ("columns: [", "is not YAML: while parsing"),
    "no mapping": ("- a", "must be a mapping of fields, not list"),
    "unknown field": ("description: X\ncolour: red\n", "line 2, colour: Extra inputs are not permitted"),
    "unknown type": (
        "description: X\nsource: {pattern: '*', format: csv}\nduplicates: keep\n"
        "columns:\n  id: {type: number}\n",
        "line 5, columns.id.type: unknown type 'number'; use string, int",
    ),
    "not UTF-8": ("description: \udce4\n", "cannot be read: 'utf-8' codec"),
}


@pytest.mark.parametrize("case", CONTRACTS)
def test_a_contract_that_is_refused(tmp_path: Path, source: Path, case: str) -> None:
    text, complaint = CONTRACTS[case]
    contract = tmp_path / "contracts" / "shop" / "items.yaml"
    contract.parent.mkdir(parents=True)
    contract.write_bytes(text.encode(errors="surrogateescape"))
    arguments = ("--dataset", "shop", "--source", str(source))
    said = etl(tmp_path / "home", *arguments, settings={"WATCHKEEPER_CONTRACTS": str(tmp_path / "contracts")})
    assert said.startswith(f"contract {contract} ")
    assert complaint in said


def test_a_home_that_may_not_be_written(tmp_path: Path, source: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    home = tmp_path / "locked" / "home"
    said = etl(home, *RETAIL, "--source", str(source), held_to_modes=True)
    assert said.startswith(f"{home}")
    assert "permission denied; run as a user who may, or change its mode" in said


def test_a_home_that_is_a_file(tmp_path: Path, source: Path) -> None:
    (tmp_path / "home").write_text("mine")
    said = etl(tmp_path / "home", *RETAIL, "--source", str(source))
    assert "a file is where a folder should be; set WATCHKEEPER_HOME to a folder" in said
    assert (tmp_path / "home").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--from", "2020-01-01"], "--rebuild, --from DAY and --to DAY go together"),
        (["--to", "2020-01-01"], "--rebuild, --from DAY and --to DAY go together"),
        (["--rebuild"], "--rebuild, --from DAY and --to DAY go together"),
        (["--rebuild", "--from", "2020-01-01"], "--rebuild, --from DAY and --to DAY go together"),
        (["--from", "2020-01-01", "--to", "2020-01-02"], "--rebuild, --from DAY and --to DAY go together"),
        (
            ["--rebuild", "--from", "2020-01-02", "--to", "2020-01-01"],
            "--from 2020-01-02 is after --to 2020-01-01",
        ),
    ],
)
def test_days_that_do_not_go_together(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    assert etl(tmp_path / "home", *RETAIL, *arguments) == complaint


def test_a_rebuild_of_a_data_set_without_times(tmp_path: Path) -> None:
    days = ("--rebuild", "--from", "2020-01-01", "--to", "2020-01-02")
    said = etl(tmp_path / "home", "--dataset", "garments", *days)
    assert said == "no event_time in the contracts of garments.articles: they cannot be rebuilt by dates"


def test_what_is_not_a_day(tmp_path: Path) -> None:
    home = {"WATCHKEEPER_HOME": str(tmp_path / "home")}
    code, said = command("flows.etl", *RETAIL, "--from", "yesterday", settings=home)
    assert code == 2
    assert said.splitlines()[-1].startswith("task etl --: error: argument --from: invalid")
    assert not (tmp_path / "home").exists()


SETTINGS = {
    "WATCHKEEPER_SPARK_CORES": ("-1", "Input should be greater than or equal to 0"),
    "WATCHKEEPER_SPARK_MEMORY_MB": ("lots", "Input should be a valid integer"),
    "WATCHKEEPER_STATSD_PORT": ("70000", "Input should be less than or equal to 65535"),
    "WATCHKEEPER_ORPHAN_AGE_HOURS": ("0", "Input should be greater than 0"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_is_refused(tmp_path: Path, name: str) -> None:
    value, complaint = SETTINGS[name]
    said = etl(tmp_path / "home", *RETAIL, settings={name: value})
    assert said.startswith(f"setting {name}: {complaint}")
    assert said.endswith("see .env.example")


@pytest.mark.parametrize(
    "module",
    ["flows.etl.sql_command", "flows.etl.quarantine_command", "flows.etl.maintain_command"],
)
def test_every_command_refuses_a_bad_setting_the_same_way(tmp_path: Path, module: str) -> None:
    arguments = {
        "flows.etl.sql_command": ["SELECT 1"],
        "flows.etl.quarantine_command": [*RETAIL, "--table", "transactions"],
        "flows.etl.maintain_command": [],
    }[module]
    loud = {"WATCHKEEPER_HOME": str(tmp_path / "home"), "WATCHKEEPER_SPARK_LOG_LEVEL": "LOUD"}
    code, said = command(module, *arguments, settings=loud)
    assert code == 2
    assert said.startswith("error: setting WATCHKEEPER_SPARK_LOG_LEVEL: ")
    assert not (tmp_path / "home").exists()


def test_serving_on_a_port_that_is_taken_or_none(tmp_path: Path) -> None:
    home = {"WATCHKEEPER_HOME": str(tmp_path / "home")}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = command("services.bento.serve", "--port", port, settings=home)
    assert (code, said) == (
        2,
        f"error: 127.0.0.1 port {port}: Address already in use; "
        "give another with --port, or set WATCHKEEPER_SERVE_HOST\n",
    )
    code, said = command("services.bento.serve", "--port", "99999", settings=home)
    assert code == 2
    assert said.startswith(
        "error: setting WATCHKEEPER_SERVE_PORT: Input should be less than or equal to 65535"
    )
    assert not (tmp_path / "home").exists()
