import ast
from pathlib import Path
from typing import Any

import pytest

from flows.config import Settings
from flows.etl.steps import TableResult
from flows.score import flow
from flows.score.report import ScoreSummary, print_summary
from flows.score.steps import ScoreResult
from observability.metrics import SCORE_IMAGES, SCORE_RUNS, SCORE_STEP_SECONDS

RESULT = ScoreResult(
    "committed",
    rows_committed=1200,
    rows_quarantined=2,
    quarantined_by_rule={"picture_unreadable": 2},
    model_version="v2",
    images=1210,
    images_unchanged=8,
    images_left=3,
    images_per_second=412.3,
    labels={"shirt": 1000, "[boot]": 200},
)


def test_the_closing_words_tell_labels_and_what_was_not_scored(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary({"scores.articles": RESULT})
    said = capsys.readouterr().out
    assert "1,210" in said
    assert "412" in said
    assert "committed, by version v2" in said
    assert "1,000  shirt" in said
    assert "200  [boot]" in said
    assert "task quarantine -- --dataset scores --table articles" in said
    assert "2  picture_unreadable" in said
    assert "3 scores of earlier versions stay" in said


def test_a_run_that_fails_is_counted_as_such(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        "observability.emit.count", lambda metric, n, **labels: sent.append((metric, n, labels))
    )
    summary = ScoreSummary(settings, "articles", [])

    def fail() -> None:
        with summary.table("scores.articles"):
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail()
    assert sent[0] == (SCORE_RUNS, 1, {"model": "articles", "outcome": "failed"})
    assert summary.path.exists()
    with summary.table("scores.articles") as record:
        record(RESULT)
    assert (SCORE_IMAGES, 1200, {"model": "articles", "outcome": "scored"}) in sent
    assert (SCORE_IMAGES, 2, {"model": "articles", "outcome": "quarantined"}) in sent
    assert isinstance(summary.tables["scores.articles"], TableResult)


def test_every_step_is_one_that_the_timing_knows() -> None:
    tree = ast.parse(Path(flow.__file__).read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [call.args[0] for call in calls if ast.unparse(call.func) == "scoring_step"]
    assert {ast.literal_eval(name) for name in names} == set(SCORE_STEP_SECONDS.labels["step"] or ())
