"""Metrics for OpenTelemetry and Prometheus, by the real libraries, and without them."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY, generate_latest

from django_oauth_flows import flows
from django_oauth_flows.exceptions import OAuthFlowsError
from django_oauth_flows.testing import Answer, Drop
from tests.plugins.canaries import find

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django_oauth_flows.models import Connection
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

SCENARIO = Path(__file__).with_name("scenario.py")


@pytest.fixture(scope="module")
def reader() -> InMemoryMetricReader:
    """Return what OpenTelemetry has collected; its provider can be set once in a process."""
    collected = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([collected]))
    return collected


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Return what a site sees that traces its outbound requests."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentors: list[Any] = [URLLib3Instrumentor(), RequestsInstrumentor()]
    for each in instrumentors:
        each.instrument(tracer_provider=provider)
    exporter.tracer = provider.get_tracer("site")  # type: ignore[attr-defined]
    yield exporter
    for each in instrumentors:
        each.uninstrument()


def refresh_and_fail(connection: Connection, fake: FakeProvider) -> None:
    """Refresh once well and once in vain."""
    flows.refresh(connection)
    fake.script("token", Answer(503))
    with pytest.raises(OAuthFlowsError):
        flows.refresh(connection)


def sample(name: str, outcome: str) -> float:
    return REGISTRY.get_sample_value(name, {"provider": "fake", "outcome": outcome}) or 0.0


@pytest.mark.security("L01")
def test_prometheus_counts_and_measures(settings: Any, connection: Connection, fake: FakeProvider) -> None:
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "METRICS": ["prometheus"]}
    names = ("oauth_flows_refreshes_total", "oauth_flows_refresh_seconds_count")
    before = [sample(name, outcome) for name in names for outcome in ("refreshed", "provider_unreachable")]
    refresh_and_fail(connection, fake)
    after = [sample(name, outcome) for name in names for outcome in ("refreshed", "provider_unreachable")]
    assert [new - old for new, old in zip(after, before, strict=True)] == [1, 1, 1, 1]
    page = generate_latest(REGISTRY)
    assert b'oauth_flows_refresh_seconds_bucket{le="0.05",outcome="refreshed",provider="fake"}' in page
    assert find("metrics", page) == []


@pytest.mark.security("L01")
def test_opentelemetry_counts_and_measures(
    reader: InMemoryMetricReader, settings: Any, connection: Connection, fake: FakeProvider
) -> None:
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "METRICS": ["opentelemetry"]}
    refresh_and_fail(connection, fake)
    data: Any = reader.get_metrics_data()
    found = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    counter, histogram = found["oauth_flows_refreshes_total"], found["oauth_flows_refresh_seconds"]
    assert {(p.attributes["provider"], p.attributes["outcome"]): p.value for p in counter.data.data_points} == {
        ("fake", "refreshed"): 1,
        ("fake", "provider_unreachable"): 1,
    }
    assert histogram.unit == "s"
    assert sorted(point.count for point in histogram.data.data_points) == [1, 1]
    assert histogram.data.data_points[0].explicit_bounds[0] == 0.05
    assert find("metrics", data.to_json()) == []


@pytest.mark.security("L01")
@pytest.mark.parametrize("protocol", ["oauth2", "oauth1"])
def test_spans_around_our_requests_hold_no_secret(
    protocol: str,
    spans: Any,
    connection: Connection,
    oauth1_connection: Connection,
    fake: FakeProvider,
) -> None:
    used = connection if protocol == "oauth2" else oauth1_connection
    with spans.tracer.start_as_current_span("the site's own", record_exception=True):
        with flows.session(used) as session:
            session.get("/echo")
            session.post("/echo", json={})
        for fault in (Drop(), Answer(400, {"error": "invalid_grant"})):
            fake.script("token", fault)
            try:
                flows.refresh(used)
            except OAuthFlowsError as error:
                trace.get_current_span().record_exception(error)
        with suppress(OAuthFlowsError):
            flows.revoke(used)
    finished = spans.get_finished_spans()
    assert len(finished) > 3, "the requests were traced"
    assert any("exception" in event.name for span in finished for event in span.events)
    assert find("spans", "\n".join(span.to_json() for span in finished)) == []


def scenario(*, metrics: list[str], blocked: tuple[str, ...] = (), taken: bool = False) -> dict[str, Any]:
    options = json.dumps({"metrics": metrics, "blocked": blocked, "taken": taken})
    done = subprocess.run(
        [sys.executable, str(SCENARIO), options],
        capture_output=True, text=True, check=False, cwd=SCENARIO.parents[2], env={"PYTHONPATH": str(SCENARIO.parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_no_library_is_imported_unless_it_is_asked_for() -> None:
    assert scenario(metrics=[]) == {"generation": 3, "said": [], "loaded": []}
    assert scenario(metrics=["prometheus"])["loaded"] == ["prometheus_client"]


def test_a_library_that_is_absent_is_said_once_and_told_nothing() -> None:
    both = ("opentelemetry", "prometheus_client")
    assert scenario(metrics=["opentelemetry", "prometheus"], blocked=both) == {
        "generation": 3,
        "said": ["oauth_flows.metrics_library_missing"] * 2,
        "loaded": [],
    }


def test_a_metric_that_cannot_be_made_costs_no_token() -> None:
    result = scenario(metrics=["prometheus"], taken=True)
    assert result["generation"] == 3
    assert result["said"] == ["oauth_flows.metric_not_recorded"] * 2
