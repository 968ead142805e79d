"""Tell the site's metrics library of refreshes: a counter and a histogram, for OpenTelemetry, Prometheus, both or none.

Only what ``OAUTH_FLOWS["METRICS"]`` names is imported, at the first refresh; a library that is not installed is told
nothing. Labels are the provider's slug and an outcome code: few values, and nothing that anybody else may choose.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from django_oauth_flows import __version__
from django_oauth_flows.conf import settings
from django_oauth_flows.flows.history import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    Instrument = Callable[[str, str, float], None]

REFRESHES = "oauth_flows_refreshes_total"
SECONDS = "oauth_flows_refresh_seconds"
SAID = {
    REFRESHES: "Attempts to refresh a token.",
    SECONDS: "How long an attempt to refresh a token took.",
}
BUCKETS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 15.0)
"""Bounds of the histogram in seconds: early refreshes end after three, the others after ten, unless a provider says otherwise."""


def observe(*, provider: str, outcome: str, seconds: float) -> None:
    """Note one attempt. Never raises: no metric is worth a token."""
    try:
        for name in settings.metrics:
            _instrument(name)(provider, outcome, seconds)
    except Exception as error:  # noqa: BLE001 - somebody else's code, or a setting that is none
        logger.warning("oauth_flows.metric_not_recorded", extra={"error": type(error).__name__})


def _instrument(name: str) -> Instrument:
    """Return the way to tell ``name``; made once, since a registry takes each name once."""
    with _lock:
        if name not in _made:
            try:
                _made[name] = LIBRARIES[name]()
            except ImportError:
                logger.warning("oauth_flows.metrics_library_missing", extra={"library": name})
                _made[name] = _nothing
        return _made[name]


def _nothing(provider: str, outcome: str, seconds: float) -> None:
    """Tell nobody."""


def _opentelemetry() -> Instrument:
    from opentelemetry import metrics

    meter = metrics.get_meter("django_oauth_flows", __version__)
    refreshes = meter.create_counter(REFRESHES, description=SAID[REFRESHES])
    duration = meter.create_histogram(
        SECONDS, unit="s", description=SAID[SECONDS], explicit_bucket_boundaries_advisory=BUCKETS
    )

    def tell(provider: str, outcome: str, seconds: float) -> None:
        labels = {"provider": provider, "outcome": outcome}
        refreshes.add(1, labels)
        duration.record(seconds, labels)

    return tell


def _prometheus() -> Instrument:
    from prometheus_client import Counter, Histogram

    labels = ("provider", "outcome")
    refreshes = Counter(REFRESHES, SAID[REFRESHES], labels)
    duration = Histogram(SECONDS, SAID[SECONDS], labels, buckets=BUCKETS)

    def tell(provider: str, outcome: str, seconds: float) -> None:
        refreshes.labels(provider, outcome).inc()
        duration.labels(provider, outcome).observe(seconds)

    return tell


LIBRARIES: dict[str, Callable[[], Instrument]] = {"opentelemetry": _opentelemetry, "prometheus": _prometheus}

_made: dict[str, Instrument] = {}
_lock = threading.Lock()
