"""Queries that more than one dashboard shows."""

TARGETS = {"{{job}} {{instance}}": "min by (job, instance) (up)"}
UP = {1: ("gives metrics", "green"), 0: ("gone", "red")}
"""The values of `up`."""
PROBES = {"{{probe}}": "min by (probe) (watchkeeper_probe_success)"}
ANSWERS = {1: ("answers", "green"), 0: ("fails", "red")}
"""Of what is asked: a probe, a collector."""
LAST_RUNS = "max by (deployment, flow, outcome) (watchkeeper_flow_last_run_state == 1)"
FRESHNESS = {
    "{{dataset}}.{{table}}": (
        "max by (dataset, table) ("
        "(time() - (watchkeeper_table_newest_event_timestamp_seconds"
        " or watchkeeper_table_commit_timestamp_seconds)) / watchkeeper_table_max_age_seconds)"
    )
}
WORKING_VERSIONS = "max by (model, version) (watchkeeper_champion_info)"
DRIFT = "max by (subject, outcome) (watchkeeper_drift_state == 1)"
