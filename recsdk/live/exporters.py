"""Observers that export what the live loop does, through the libraries of Prometheus and of OpenTelemetry.

Both tell the same: one table below has every metric, under the name that each library's conventions give it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from recsdk.errors import InvalidValue, MissingExtra, install
from recsdk.live.observe import Corrected, Decided, Failed, Notice, Recovered, Rewarded, Signalled, Snapshotted
from recsdk.live.published import Published

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from prometheus_client import CollectorRegistry

QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SLOW = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)


class _Metric(NamedTuple):
    """A metric under both names; with buckets a histogram of seconds, else a count, or a sum that may fall."""

    prometheus: str
    otel: str
    unit: str
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    may_fall: bool = False


METRICS = {
    "decision": _Metric("recsdk_decision_duration_seconds", "recsdk.decision.duration", "s", "Time that a decision took.", buckets=QUICK),
    "lacking": _Metric(
        "recsdk_decisions_lacking", "recsdk.decisions.lacking", "{decision}", "Decisions made without a part that failed.", ("part",)
    ),
    "failures": _Metric("recsdk_failures", "recsdk.failures", "{failure}", "Failures of parts in decisions.", ("part", "reason")),
    "rewards": _Metric("recsdk_rewards", "recsdk.rewards", "{reward}", "Rewards that were learned."),
    "repeated": _Metric("recsdk_rewards_repeated", "recsdk.rewards.repeated", "{report}", "Reports of rewards that were there before."),
    "value": _Metric("recsdk_reward_value", "recsdk.reward.value", "1", "Sum of the rewards, as first learned.", may_fall=True),
    "signals": _Metric("recsdk_signals", "recsdk.signals", "{signal}", "Signals, by what became of them.", ("name", "receipt")),
    "corrections": _Metric("recsdk_corrections", "recsdk.corrections", "{correction}", "Corrections that were told.", ("receipt",)),
    "snapshot": _Metric("recsdk_snapshot_duration_seconds", "recsdk.snapshot.duration", "s", "Time of a snapshot.", buckets=SLOW),
    "recovery": _Metric("recsdk_recovery_duration_seconds", "recsdk.recovery.duration", "s", "Time of a recovery.", buckets=SLOW),
    "changes": _Metric("recsdk_published", "recsdk.published", "{change}", "Changes of what serves.", ("reason",)),
}


class PrometheusObserver:
    """Exports counts, sums and durations to Prometheus through `prometheus_client`; needs `recsdk[prometheus]`.

    One observer may be given to several recommenders of a process, which then count together.

    Args:
        registry: where the metrics are registered; None takes the library's own, which its HTTP server and web apps show.

    Raises:
        MissingExtra: when `prometheus_client` is not installed.
        InvalidValue: a registry of another type, or one that has these metrics already.

    Example:
        >>> from prometheus_client import CollectorRegistry
        >>> registry = CollectorRegistry()
        >>> observer = PrometheusObserver(registry=registry)
        >>> observer(Decided("d1", None, num_candidates=3, size=1, seconds=0.5))
        >>> registry.get_sample_value("recsdk_decision_duration_seconds_count")
        1.0
    """

    def __init__(self, *, registry: CollectorRegistry | None = None) -> None:
        try:
            import prometheus_client
        except ImportError as error:
            raise MissingExtra(f"PrometheusObserver needs prometheus_client: {install('prometheus')}.") from error
        if registry is None:
            registry = prometheus_client.REGISTRY
        if not isinstance(registry, prometheus_client.CollectorRegistry):
            raise InvalidValue(f"registry must be a prometheus_client.CollectorRegistry or None, got {registry!r:.200}.")
        self._metrics: dict[str, Any] = {}
        try:
            for name, metric in METRICS.items():
                if metric.buckets:
                    made: Any = prometheus_client.Histogram(
                        metric.prometheus, metric.text, metric.labels, buckets=metric.buckets, registry=registry
                    )
                else:
                    kind = prometheus_client.Gauge if metric.may_fall else prometheus_client.Counter
                    made = kind(metric.prometheus, metric.text, metric.labels, registry=registry)
                self._metrics[name] = made
        except ValueError as error:
            text = "registry has metrics of these names already: give the observer that made them to every recommender"
            raise InvalidValue(f"{text}, or each its own registry ({error}).") from error

    def __call__(self, notice: Notice) -> None:
        """Exports one record."""
        for name, amount, labels in _measures(notice):
            metric = self._metrics[name].labels(**labels) if labels else self._metrics[name]
            if METRICS[name].buckets:
                metric.observe(amount)
            else:
                metric.inc(amount)


class OpenTelemetryObserver:
    """Exports counts, sums and durations through the API of OpenTelemetry; needs `recsdk[otel]`.

    What becomes of them, the application's SDK and its exporters say; without these they go nowhere.

    Args:
        meter_provider: what makes the meter "recsdk"; None takes the application's own.

    Raises:
        MissingExtra: when `opentelemetry-api` is not installed.
        InvalidValue: a provider of another type.

    Example:
        >>> OpenTelemetryObserver()(Decided("d1", None, num_candidates=3, size=1, seconds=0.5))
    """

    def __init__(self, *, meter_provider: MeterProvider | None = None) -> None:
        try:
            from opentelemetry import metrics
        except ImportError as error:
            raise MissingExtra(f"OpenTelemetryObserver needs opentelemetry-api: {install('otel')}.") from error
        if not (meter_provider is None or isinstance(meter_provider, metrics.MeterProvider)):
            raise InvalidValue(f"meter_provider must be an opentelemetry.metrics.MeterProvider or None, got {meter_provider!r:.200}.")
        meter = metrics.get_meter("recsdk", meter_provider=meter_provider)
        self._metrics: dict[str, Any] = {}
        for name, metric in METRICS.items():
            said = {"name": metric.otel, "unit": metric.unit, "description": metric.text}
            if metric.buckets:
                self._metrics[name] = meter.create_histogram(**said, explicit_bucket_boundaries_advisory=metric.buckets)
            else:
                self._metrics[name] = meter.create_up_down_counter(**said) if metric.may_fall else meter.create_counter(**said)

    def __call__(self, notice: Notice) -> None:
        """Exports one record."""
        for name, amount, labels in _measures(notice):
            attributes = {f"recsdk.{label}": value for label, value in labels.items()}
            if METRICS[name].buckets:
                self._metrics[name].record(amount, attributes)
            else:
                self._metrics[name].add(amount, attributes)


def _measures(notice: Notice) -> Iterator[tuple[str, float, Mapping[str, str]]]:
    """Yields what a record adds: the metric, how much, and the labels. No user and no id is among them."""
    match notice:
        case Decided():
            yield "decision", notice.seconds, {}
            for part in notice.failed:
                yield "lacking", 1, {"part": part}
        case Failed():
            yield "failures", 1, {"part": notice.part, "reason": notice.reason}
        case Rewarded(num_new=0):
            yield "repeated", 1, {}
        case Rewarded():
            yield "rewards", notice.num_new, {}
            yield "value", notice.total, {}
        case Signalled():
            yield "signals", 1, {"name": notice.name, "receipt": notice.receipt}
        case Corrected():
            yield "corrections", 1, {"receipt": notice.receipt}
        case Snapshotted():
            yield "snapshot", notice.seconds, {}
        case Recovered():
            yield "recovery", notice.seconds, {}
        case Published():
            yield "changes", 1, {"reason": notice.reason}
