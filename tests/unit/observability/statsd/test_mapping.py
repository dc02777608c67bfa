"""statsd_exporter's mapping says what is declared, and drops what is not."""

import re

import yaml

from observability.emit import bucket
from observability.metrics import METRICS
from observability.statsd import mapping

MAPPINGS = yaml.safe_load(mapping.render())["mappings"]


def test_every_pushed_metric_has_one_mapping_and_nothing_else_has() -> None:
    assert [each["name"] for each in MAPPINGS[:-1]] == [m.name for m in METRICS if not m.pulled]
    assert MAPPINGS[-1] | {"name": ""} == {
        "match": ".",
        "match_type": "regex",
        "action": "drop",
        "name": "",
    }


def test_what_is_sent_matches_with_each_label_in_its_place() -> None:
    for metric, said in zip([m for m in METRICS if not m.pulled], MAPPINGS, strict=False):
        labels = {label: (values or (f"of-{label}",))[0] for label, values in metric.labels.items()}
        glob = re.escape(said["match"]).replace(r"\*", "([^.]*)")
        match = re.fullmatch(glob, bucket(metric, labels))
        assert match
        assert {label: match[int(place[1:])] for label, place in said["labels"].items()} == labels


def test_a_timing_is_a_histogram_with_its_bounds() -> None:
    for metric, said in zip([m for m in METRICS if not m.pulled], MAPPINGS, strict=False):
        assert ("histogram_options" in said) == (metric.kind == "timing")
        if metric.kind == "timing":
            assert said["histogram_options"] == {"buckets": sorted(metric.buckets)}
