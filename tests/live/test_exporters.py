"""What the libraries of Prometheus and OpenTelemetry show is what the loop has done."""

import sys

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from recsdk.errors import InvalidValue, MissingExtra
from recsdk.live.exporters import OpenTelemetryObserver, PrometheusObserver
from recsdk.live.observe import Corrected, Decided, Failed, Recovered, Rewarded, Signalled, Snapshotted
from recsdk.live.published import Published
from tests.live.shop import request, small_recommender

LIFE = [
    Recovered(num_learned=0, seconds=0.25),
    Decided("a", "ann", num_candidates=12, size=2, seconds=0.002),
    Failed("encoder", "late", "Late: no answer within 0.05 s", in_a_row=1, rests=False),
    Decided("b", None, num_candidates=12, size=2, seconds=0.004, failed=("encoder", "policy")),
    Rewarded("a", num_new=2, total=1.5),
    Rewarded("a", num_new=0, total=0),
    Rewarded("b", num_new=1, total=-2.0),
    Signalled("click", "taken", delay=0.0),
    Signalled("click", "taken", delay=0.0),
    Signalled("click", "late", delay=9.0),
    Corrected("order-17", "taken", num_rewards=1),
    Snapshotted(num_learned=3, seconds=0.125),
    Published("swapped", "m1", "LinTS", 0.0),
]


def scraped(registry):
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples if not sample.name.endswith(("_created", "_bucket"))}


def test_a_scrape_shows_every_count_and_sum():
    registry = CollectorRegistry()
    observer = PrometheusObserver(registry=registry)
    for notice in LIFE:
        observer(notice)
    assert scraped(registry) == {
        ("recsdk_decision_duration_seconds_count",): 2,
        ("recsdk_decision_duration_seconds_sum",): 0.006,
        ("recsdk_rewards_total",): 3,
        ("recsdk_decisions_lacking_total", "encoder"): 1,
        ("recsdk_decisions_lacking_total", "policy"): 1,
        ("recsdk_failures_total", "encoder", "late"): 1,
        ("recsdk_rewards_repeated_total",): 1,
        ("recsdk_reward_value",): -0.5,
        ("recsdk_signals_total", "click", "taken"): 2,
        ("recsdk_signals_total", "click", "late"): 1,
        ("recsdk_corrections_total", "taken"): 1,
        ("recsdk_snapshot_duration_seconds_count",): 1,
        ("recsdk_snapshot_duration_seconds_sum",): 0.125,
        ("recsdk_recovery_duration_seconds_count",): 1,
        ("recsdk_recovery_duration_seconds_sum",): 0.25,
        ("recsdk_published_total", "swapped"): 1,
    }


def test_a_reader_of_open_telemetry_gets_every_count_and_sum():
    reader = InMemoryMetricReader()
    observer = OpenTelemetryObserver(meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    for notice in LIFE:
        observer(notice)
    (scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
    assert scope.scope.name == "recsdk"
    found = {
        (metric.name, metric.unit, *point.attributes.values()): (point.count, point.sum) if metric.unit == "s" else point.value
        for metric in scope.metrics
        for point in metric.data.data_points
    }
    assert found == {
        ("recsdk.decision.duration", "s"): (2, 0.006),
        ("recsdk.decisions.lacking", "{decision}", "encoder"): 1,
        ("recsdk.decisions.lacking", "{decision}", "policy"): 1,
        ("recsdk.failures", "{failure}", "encoder", "late"): 1,
        ("recsdk.rewards", "{reward}"): 3,
        ("recsdk.rewards.repeated", "{report}"): 1,
        ("recsdk.reward.value", "1"): -0.5,
        ("recsdk.signals", "{signal}", "click", "taken"): 2,
        ("recsdk.signals", "{signal}", "click", "late"): 1,
        ("recsdk.corrections", "{correction}", "taken"): 1,
        ("recsdk.snapshot.duration", "s"): (1, 0.125),
        ("recsdk.recovery.duration", "s"): (1, 0.25),
        ("recsdk.published", "{change}", "swapped"): 1,
    }


def test_a_shop_is_watched_without_an_error(tmp_path):
    registry = CollectorRegistry()
    with small_recommender(tmp_path, observer=PrometheusObserver(registry=registry)) as shop:
        slate = shop.recommend(request(3), size=2)
        shop.reward(slate.decision_id, 0.5, item=slate.ids[0])
        assert shop.num_observer_errors == 0
    assert scraped(registry)["recsdk_decision_duration_seconds_count",] == scraped(registry)["recsdk_rewards_total",] == 1


def test_one_registry_takes_one_observer():
    registry = CollectorRegistry()
    PrometheusObserver(registry=registry)
    with pytest.raises(InvalidValue, match="registry has metrics of these names already"):
        PrometheusObserver(registry=registry)


def test_what_is_no_registry_and_no_provider_is_refused():
    with pytest.raises(InvalidValue, match="registry must be"):
        PrometheusObserver(registry="prometheus")
    with pytest.raises(InvalidValue, match="meter_provider must be"):
        OpenTelemetryObserver(meter_provider="otel")


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingExtra, match=r"\[prometheus\]"):
        PrometheusObserver()
    with pytest.raises(MissingExtra, match=r"\[otel\]"):
        OpenTelemetryObserver()
