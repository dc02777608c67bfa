"""Model and drift: who is champion and why, how it does on live traffic, and whether the data has changed."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from observability.grafana.dashboards.panels import (
    Bound,
    Panel,
    bars,
    board,
    listing,
    mean,
    numbers,
    or_zero,
    series,
)
from observability.grafana.dashboards.shared import DRIFT, WORKING_VERSIONS

BEGAN = "Since statsd_exporter began to count."


def render() -> Dashboard:
    """The dashboard."""
    return board(
        "model",
        "Model and drift",
        "The registry's ledger, the score on live traffic, retrainings, drift verdicts and batch scoring.",
        {
            "Champion": champion(),
            "Live traffic": live(),
            "Drift": drift(),
            "Retraining": retraining(),
            "Batch scoring": scoring(),
        },
    )


def champion() -> list[Panel]:
    """What the registry says."""
    return [
        listing("Champions", "The version that is champion of each model.", WORKING_VERSIONS, "", span=8),
        series(
            "Age",
            "Time since the champion was trained, and since it became champion.",
            "s",
            {
                "{{model}} trained": (
                    "max by (model) (time() - watchkeeper_champion_created_timestamp_seconds)"
                ),
                "{{model}} champion": (
                    "max by (model) (time() - watchkeeper_champion_since_timestamp_seconds)"
                ),
            },
            [Bound("ChampionOld", 7776000)],
            span=8,
        ),
        series(
            "Challengers refused in a row",
            "Since the last promotion.",
            "none",
            {"{{model}}": "max by (model) (watchkeeper_champion_challengers_refused)"},
            [Bound("ChallengersRefused", 3)],
            span=8,
        ),
        numbers(
            "Promotions",
            "In the ledger.",
            "none",
            {"{{model}}": "max by (model) (watchkeeper_champion_promotions)"},
            span=12,
        ),
        numbers(
            "Champion's macro-F1",
            "On its validation articles.",
            "percentunit",
            {"{{model}}": "max by (model) (watchkeeper_champion_score_ratio)"},
            span=12,
        ),
    ]


def live() -> list[Panel]:
    """What the drift flow makes of the prediction log and its feedback."""
    return [
        series(
            "Macro-F1 on live traffic",
            "On labels that arrived, its 95% interval, and what confidence promises; LiveScoreFallen fires "
            "where the interval's upper end is 5 points below the champion's own score.",
            "percentunit",
            {
                "{{model}} {{of}}": "max by (model, of) (watchkeeper_live_score_ratio)",
                "{{model}} validation": "max by (model) (watchkeeper_champion_score_ratio)",
            },
        ),
        series(
            "Labels that arrived",
            "Answers of the newest window whose label is known.",
            "short",
            {"{{model}}": "max by (model) (watchkeeper_live_labels)"},
        ),
    ]


def drift() -> list[Panel]:
    """Verdicts, and what they were reached from."""
    return [
        listing("Verdicts", "The newest on each subject.", DRIFT, "", span=8),
        series(
            "Age of the verdict",
            "Time since the newest was reached.",
            "s",
            {"{{subject}}": "max by (subject) (time() - watchkeeper_drift_verdict_timestamp_seconds)"},
            [Bound("DriftVerdictStale", 172800)],
            span=8,
        ),
        series(
            "Columns that drifted",
            "Share of those compared.",
            "percentunit",
            {"{{subject}}": "max by (subject) (watchkeeper_drift_columns_ratio)"},
            span=8,
        ),
        bars(
            "Distance beside its threshold",
            "The ten columns nearest to drift or beyond it; from 100% a column counts as drifted.",
            "percentunit",
            {"{{subject}} {{column}}": "topk(10, watchkeeper_drift_score / watchkeeper_drift_threshold)"},
        ),
        bars(
            "Drift runs by verdict",
            f"An error has none. {BEGAN}",
            "none",
            {"{{subject}} {{outcome}}": "sum by (subject, outcome) (watchkeeper_drift_runs_total)"},
            span=6,
        ),
        bars(
            "Mean time of a drift step",
            BEGAN,
            "s",
            {"{{subject}} {{step}}": mean("watchkeeper_drift_step_seconds", "subject", "step")},
            span=6,
        ),
    ]


def retraining() -> list[Panel]:
    """What the retraining flow has sent."""
    return [
        bars(
            "Retrainings by the gate's verdict",
            BEGAN,
            "none",
            {"{{model}} {{outcome}}": "sum by (model, outcome) (watchkeeper_retrain_runs_total)"},
            span=8,
        ),
        bars(
            "Trials by how they ended",
            f"Of hyperparameter searches. {BEGAN}",
            "none",
            {"{{model}} {{outcome}}": or_zero("sum by (model, outcome) (watchkeeper_retrain_trials_total)")},
            span=8,
        ),
        bars(
            "Mean time of a retraining step",
            BEGAN,
            "s",
            {"{{model}} {{step}}": mean("watchkeeper_retrain_step_seconds", "model", "step")},
            span=8,
        ),
        bars(
            "Macro-F1 on the holdout",
            "Of the newest challenger, and of the champion that it met.",
            "percentunit",
            {"{{model}} {{role}}": "max by (model, role) (watchkeeper_retrain_score_ratio)"},
        ),
        bars(
            "Articles",
            "Of the newest retraining's snapshot, by what they were used for.",
            "short",
            {"{{model}} {{side}}": "max by (model, side) (watchkeeper_retrain_articles)"},
        ),
    ]


def scoring() -> list[Panel]:
    """What the batch scoring flow has sent."""
    return [
        bars(
            "Scoring runs by how they ended",
            BEGAN,
            "none",
            {"{{model}} {{outcome}}": "sum by (model, outcome) (watchkeeper_score_runs_total)"},
            span=8,
        ),
        bars(
            "Pictures by where they ended",
            BEGAN,
            "short",
            {"{{model}} {{outcome}}": "sum by (model, outcome) (watchkeeper_score_images_total)"},
            span=8,
        ),
        bars(
            "Mean time of a scoring step",
            BEGAN,
            "s",
            {"{{model}} {{step}}": mean("watchkeeper_score_step_seconds", "model", "step")},
            span=8,
        ),
    ]
