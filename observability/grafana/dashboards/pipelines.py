"""Pipelines and data: what runs, how it ended, and how fresh, large and clean the tables are."""

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
from observability.grafana.dashboards.shared import FRESHNESS, LAST_RUNS

TABLE = "{{dataset}}.{{table}}"
BEGAN = "Since statsd_exporter began to count."


def render() -> Dashboard:
    """The dashboard."""
    return board(
        "pipelines",
        "Pipelines and data",
        "Runs by Prefect's own word, steps by the flows' events, tables by the lake's metadata.",
        {"Runs": runs(), "Steps": steps(), "Tables": tables(), "Commits": commits()},
    )


def runs() -> list[Panel]:
    """What Prefect knows."""
    by = "max by (deployment, flow)"
    return [
        listing("Last runs", "How the last run of each deployment ended.", LAST_RUNS, "runs"),
        series(
            "Since the last run",
            "Time since the last run ended, and since the last that completed.",
            "s",
            {
                "{{deployment}} {{flow}}": f"{by} (time() - watchkeeper_flow_last_run_timestamp_seconds)",
                "{{deployment}} {{flow}}, completed": (
                    f"{by} (time() - watchkeeper_flow_last_success_timestamp_seconds)"
                ),
            },
        ),
        series(
            "How long runs take",
            "The last run, and the last that completed.",
            "s",
            {
                "{{deployment}} {{flow}}": f"{by} (watchkeeper_flow_last_run_seconds)",
                "{{deployment}} {{flow}}, completed": f"{by} (watchkeeper_flow_last_success_seconds)",
            },
        ),
        series(
            "Running for",
            "Since the oldest run that is running began; zero where none is. FlowStuck knows what is usual.",
            "s",
            {"{{deployment}}": or_zero(f"{by} (time() - watchkeeper_flow_running_since_timestamp_seconds)")},
        ),
        series(
            "Late runs",
            "They should have begun, and no worker has taken them.",
            "none",
            {"{{deployment}}": "sum by (deployment) (watchkeeper_flow_late_runs)"},
            [Bound("FlowLate", 0)],
            span=8,
        ),
        series(
            "Planned runs",
            "Of deployments whose schedule is on; at zero the next one will be missed.",
            "none",
            {"{{deployment}}": "sum by (deployment) (watchkeeper_flow_scheduled_runs)"},
            span=8,
        ),
        series(
            "Workers' last sign",
            "Time since a work pool heard of a worker.",
            "s",
            {"{{pool}}": "min by (pool) (time() - watchkeeper_worker_heartbeat_timestamp_seconds)"},
            [Bound("WorkerGone", 120)],
            span=8,
        ),
    ]


def steps() -> list[Panel]:
    """What the flows have sent by StatsD."""
    return [
        bars(
            "Flow runs by how they ended",
            BEGAN,
            "none",
            {"{{flow}} {{outcome}}": "sum by (flow, outcome) (watchkeeper_flow_runs_total)"},
            span=8,
        ),
        bars(
            "Task runs by how they ended",
            BEGAN,
            "none",
            {"{{task}} {{outcome}}": "sum by (task, outcome) (watchkeeper_task_runs_total)"},
            span=8,
        ),
        bars(
            "Task retries",
            f"Further attempts. {BEGAN}",
            "none",
            {"{{task}}": or_zero("sum by (task) (watchkeeper_task_retries_total)")},
            span=8,
        ),
        bars(
            "Mean time of a flow run",
            BEGAN,
            "s",
            {"{{flow}}": mean("watchkeeper_flow_seconds", "flow")},
            span=8,
        ),
        bars(
            "Mean time of a task run",
            BEGAN,
            "s",
            {"{{task}}": mean("watchkeeper_task_seconds", "task")},
            span=8,
        ),
        bars(
            "Mean time of an ETL step",
            BEGAN,
            "s",
            {f"{TABLE} {{{{step}}}}": mean("watchkeeper_etl_step_seconds", "dataset", "table", "step")},
            span=8,
        ),
        bars(
            "Spark jobs by how they ended",
            BEGAN,
            "none",
            {
                "{{program}} on {{runner}} {{outcome}}": or_zero(
                    "sum by (program, runner, outcome) (watchkeeper_spark_jobs_total)"
                )
            },
            span=8,
        ),
        bars(
            "Orphans on AWS",
            "Spark jobs and clusters without a living flow run, at the last look of the flow orphans.",
            "none",
            {"orphans": or_zero("max(watchkeeper_orphan_runs)")},
            span=8,
        ),
        bars(
            "Cost of Spark jobs on AWS",
            f"By the prices of the settings. {BEGAN}",
            "currencyUSD",
            {
                "{{program}} on {{runner}}": or_zero(
                    "sum by (program, runner) (watchkeeper_spark_cost_dollars_total)"
                )
            },
            span=8,
        ),
    ]


def tables() -> list[Panel]:
    """What the lake's metadata says."""
    by = "max by (dataset, table)"
    return [
        bars(
            "Freshness",
            "Age of a table's newest row as a share of what its contract allows.",
            "percentunit",
            FRESHNESS,
            [Bound("TableStale", 1)],
        ),
        series(
            "Ages",
            "Of the newest row, of the newest commit, and what the contract allows.",
            "s",
            {
                f"{TABLE} row": f"{by} (time() - watchkeeper_table_newest_event_timestamp_seconds)",
                f"{TABLE} commit": f"{by} (time() - watchkeeper_table_commit_timestamp_seconds)",
                f"{TABLE} allowed": f"{by} (watchkeeper_table_max_age_seconds)",
            },
        ),
        series("Rows", "Of each table.", "short", {TABLE: f"{by} (watchkeeper_table_rows)"}, span=8),
        series(
            "Data files",
            "Of each table; maintenance packs small ones.",
            "short",
            {TABLE: f"{by} (watchkeeper_table_files)"},
            span=8,
        ),
        series(
            "Bytes",
            "Of each table's data files.",
            "bytes",
            {TABLE: f"{by} (watchkeeper_table_bytes)"},
            span=8,
        ),
        series(
            "Landing zone",
            "Files that the next run would take: new ones and corrections.",
            "none",
            {TABLE: or_zero("sum by (dataset, table) (watchkeeper_landing_files)")},
            span=8,
        ),
        series(
            "Oldest landing file",
            "How long it waits; zero where none does.",
            "s",
            {TABLE: or_zero(f"{by} (time() - watchkeeper_landing_oldest_timestamp_seconds)")},
            [Bound("LandingBacklog", 21600)],
            span=8,
        ),
        numbers(
            "Free for the home",
            "Bytes free on the disk of WATCHKEEPER_HOME.",
            "bytes",
            {"": "min(watchkeeper_home_free_bytes)"},
            span=8,
        ).height(8),
        series(
            "Orphan files",
            "Below a table, named by no snapshot, and overdue: maintenance should have removed them.",
            "none",
            {TABLE: f"{by} (watchkeeper_table_orphan_files)"},
            [Bound("TableOrphans", 0)],
        ),
        series(
            "Bytes of orphan files",
            "What maintenance would give back.",
            "bytes",
            {TABLE: f"{by} (watchkeeper_table_orphan_bytes)"},
        ),
    ]


def commits() -> list[Panel]:
    """What the newest commits brought, and all of them together."""
    by = "sum by (dataset, table, outcome)"
    outcome = f"{TABLE} {{{{outcome}}}}"
    return [
        bars(
            "Newest commit: rows",
            "By where they ended.",
            "short",
            {outcome: f"{by} (watchkeeper_table_commit_rows)"},
        ),
        bars(
            "Newest commit: broken rules",
            "Rows in quarantine by the rule that they broke; zero where none did.",
            "short",
            {
                f"{TABLE} {{{{rule}}}}": or_zero(
                    "sum by (dataset, table, rule) (watchkeeper_table_quarantined_rows)"
                )
            },
        ),
        series(
            "Quarantine share",
            "Of the rows of the newest commit.",
            "percentunit",
            {TABLE: "watchkeeper:table_quarantined:ratio"},
            [Bound("TableQuarantine", 0.02)],
        ),
        series(
            "Rows beside the usual",
            "Of the newest commit, by the mean of seven days.",
            "percentunit",
            {TABLE: "max by (dataset, table) (watchkeeper:table_commit_rows:ratio7d)"},
            [Bound("TableRowsUnusual", 0.33, below=True), Bound("TableRowsUnusual", 3)],
        ),
        bars(
            "ETL runs by how they ended",
            BEGAN,
            "none",
            {outcome: f"{by} (watchkeeper_etl_runs_total)"},
            span=6,
        ),
        bars(
            "Rows read by where they ended",
            BEGAN,
            "short",
            {outcome: f"{by} (watchkeeper_etl_rows_total)"},
            span=6,
        ),
        bars(
            "Source files by what became of them",
            BEGAN,
            "short",
            {outcome: f"{by} (watchkeeper_etl_source_files_total)"},
            span=6,
        ),
        bars(
            "Bytes committed",
            BEGAN,
            "bytes",
            {TABLE: "sum by (dataset, table) (watchkeeper_etl_written_bytes_total)"},
            span=6,
        ),
    ]
