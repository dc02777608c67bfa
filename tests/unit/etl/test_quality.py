"""The verdict is silent at each threshold, speaks just beyond it, and says why."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from flows.etl.contract import TableRules
from flows.etl.quality import MIN_HISTORY, Facts, Verdict, judge

NOW = datetime(2026, 3, 1, 12)
FACTS = Facts(
    files_in=1,
    rows_in=100,
    rows_duplicate=0,
    rows_kept=0,
    rows_written=100,
    quarantined_by_rule={},
)


def verdict_on(
    facts: Facts = FACTS,
    history: list[float] | None = None,
    newest_event: datetime | None = None,
    **rules: Any,
) -> Verdict:
    """The verdict on a run that is in order but for what is told."""
    return judge(facts, TableRules(**rules), history or [], newest_event, NOW)


def with_bad(rows_in: int, by_rule: dict[str, int], **more: int) -> Facts:
    """A run that adds up, with these bad rows."""
    bad, copies = sum(by_rule.values()), more.get("rows_duplicate", 0)
    return replace(
        FACTS,
        rows_in=rows_in,
        rows_written=rows_in - bad - copies,
        quarantined_by_rule=by_rule,
        **more,
    )


def in_files(rows: int, files: int = 1) -> Facts:
    """A run that adds up, with so many rows in so many files."""
    return replace(FACTS, files_in=files, rows_in=rows, rows_written=rows)


def test_a_run_in_order_passes_without_a_word() -> None:
    assert verdict_on() == Verdict("pass", ())


def test_a_run_without_rows_passes() -> None:
    assert verdict_on(replace(FACTS, files_in=0, rows_in=0, rows_written=0)) == Verdict("pass", ())


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (
            replace(FACTS, rows_written=99),
            "100 rows were read, but 99 ended: 99 committed, 0 quarantined, 0 copies",
        ),
        (replace(FACTS, rows_written=101), "100 rows were read, but 101 ended: 101 committed"),
        (replace(FACTS, rows_kept=1), "100 rows were read, but 99 ended: 99 committed"),
        (
            replace(FACTS, rows_duplicate=1),
            "100 rows were read, but 101 ended: 100 committed, 0 quarantined, 1 copies",
        ),
        (
            replace(FACTS, quarantined_by_rule={"a": 1, "b": 2}),
            "but 103 ended: 100 committed, 3 quarantined, 0 copies",
        ),
    ],
)
def test_a_run_that_does_not_add_up_fails_whatever_the_contract_bears(facts: Facts, said: str) -> None:
    verdict = verdict_on(facts, max_quarantined_ratio=1)
    assert verdict.outcome == "fail"
    assert said in verdict.reasons[0]
    assert verdict.reasons[0].endswith("please report this defect")


def test_rows_that_are_kept_of_replaced_files_are_no_new_rows() -> None:
    facts = replace(FACTS, rows_kept=40, rows_written=140)
    assert facts.rows_committed == 100
    assert verdict_on(facts) == Verdict("pass", ())


def test_bad_rows_up_to_the_share_pass() -> None:
    assert verdict_on(with_bad(100, {"a": 5}), max_quarantined_ratio=0.05) == Verdict("pass", ())


def test_one_bad_row_more_fails_and_is_explained() -> None:
    facts = with_bad(10_000, {"rare": 1, "worst": 300, "second": 100, "third": 100})
    verdict = verdict_on(facts, max_quarantined_ratio=0.05)
    assert verdict == Verdict(
        "fail",
        (
            "501 of 10,000 rows (5.0%) broke a rule, more than max_quarantined_ratio 5.0%: "
            "worst 300, second 100, third 100",
        ),
    )


def test_copies_do_not_thin_out_the_bad_rows() -> None:
    # 5 of 90 rows are bad; of all 100 lines they would be just the share that the contract bears.
    facts = with_bad(100, {"a": 5}, rows_duplicate=10)
    assert verdict_on(facts, max_quarantined_ratio=0.05).outcome == "fail"


def test_where_nothing_is_borne_one_bad_row_of_a_million_fails() -> None:
    assert verdict_on(with_bad(1_000_000, {"a": 1}), max_quarantined_ratio=0).outcome == "fail"
    assert verdict_on(in_files(1_000_000), max_quarantined_ratio=0).outcome == "pass"


def test_a_file_of_copies_only_is_no_share_of_nothing() -> None:
    facts = replace(FACTS, rows_in=3, rows_written=0, rows_duplicate=3)
    assert facts.quarantined_ratio == 0
    assert verdict_on(facts) == Verdict("pass", ())


@pytest.mark.parametrize(
    ("rows", "files", "said"),
    [
        (50, 1, None),
        (49, 1, "49 rows a file are 0.49 times the usual 100, outside rows_per_file_band 0.5 to 2"),
        (200, 1, None),
        (201, 1, "201 rows a file are 2.01 times the usual 100, outside rows_per_file_band 0.5 to 2"),
        (600, 3, None),
        (606, 3, "202 rows a file are 2.02 times the usual 100"),
    ],
)
def test_files_of_an_unusual_length_warn(rows: int, files: int, said: str | None) -> None:
    verdict = verdict_on(in_files(rows, files), history=[100, 90, 5000], rows_per_file_band=(0.5, 2))
    if said is None:
        assert verdict == Verdict("pass", ())
    else:
        assert verdict.outcome == "warn"
        assert verdict.reasons[0].startswith(said)


def test_nothing_is_unusual_before_there_is_a_history() -> None:
    for runs, outcome in ((MIN_HISTORY - 1, "pass"), (MIN_HISTORY, "warn")):
        assert verdict_on(in_files(1), history=[100] * runs, rows_per_file_band=(0.5, 2)).outcome == outcome


def test_without_a_band_nothing_is_unusual() -> None:
    assert verdict_on(in_files(1), history=[1e6] * 10).outcome == "pass"


def test_a_run_without_files_has_no_rows_a_file() -> None:
    facts = replace(FACTS, files_in=0, rows_in=0, rows_written=0)
    assert verdict_on(facts, history=[100] * 5, rows_per_file_band=(0.5, 2)).outcome == "pass"


def test_a_history_of_empty_files_makes_nothing_unusual() -> None:
    assert verdict_on(in_files(7), history=[0, 0, 0], rows_per_file_band=(0.5, 2)).outcome == "pass"


def test_an_event_as_old_as_allowed_passes() -> None:
    assert verdict_on(newest_event=NOW - timedelta(days=2), max_age_days=2) == Verdict("pass", ())


def test_an_older_newest_event_warns() -> None:
    verdict = verdict_on(newest_event=NOW - timedelta(days=3, hours=12), max_age_days=2)
    assert verdict == Verdict("warn", ("the newest event is 3.5 days old, more than max_age_days 2",))
    assert verdict_on(newest_event=NOW - timedelta(days=2, seconds=1), max_age_days=2).outcome == "warn"


def test_a_table_without_times_has_no_age() -> None:
    assert verdict_on(newest_event=None, max_age_days=2).outcome == "pass"
    assert verdict_on(newest_event=datetime(1970, 1, 1)).outcome == "pass"


def test_every_warning_is_said() -> None:
    verdict = verdict_on(
        in_files(1),
        history=[100] * 3,
        newest_event=NOW - timedelta(days=9),
        rows_per_file_band=(0.5, 2),
        max_age_days=2,
    )
    assert verdict.outcome == "warn"
    assert len(verdict.reasons) == 2


def test_every_failure_is_said_and_no_warning_beside_it() -> None:
    facts = replace(with_bad(100, {"a": 50}), rows_written=49)
    verdict = verdict_on(facts, newest_event=NOW - timedelta(days=9), max_age_days=2)
    assert verdict.outcome == "fail"
    assert ["ended" in reason or "broke a rule" in reason for reason in verdict.reasons] == [True, True]
