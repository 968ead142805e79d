"""One authorised HTTPS GET: our session against a bare kept-alive ``requests.Session``.

``python -m benchmarks.api_call``. Calls take turns, so that noise meets all alike; each run's figure is made of medians.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import requests

from benchmarks.harness import RUNS, Report, scratch_database, stub_provider

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS, WARM = 400, 50


class Held:
    """A token source whose row has been read already."""

    def __init__(self, pair: Any) -> None:
        self.pair = pair

    def current(self, *, rejected: Any = None) -> Any:
        """Return it."""
        return self.pair


def take_turns(variants: dict[str, Callable[[], object]], calls: int) -> dict[str, float]:
    """Return each variant's median seconds per call. The order is drawn anew: what comes before a call warms it up."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    order, dice = list(variants), random.Random(0)  # noqa: S311 - not a secret
    for _ in range(calls):
        dice.shuffle(order)
        for name in order:
            began = time.perf_counter()
            variants[name]()
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def select_of(call: Callable[[], object]) -> Callable[[], object]:
    """Return a function that runs, alone, the one SELECT that ``call`` makes."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    statements: list[Any] = []

    def keep(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append((sql, params))
        return execute(sql, params, many, context)

    with CaptureQueriesContext(connection), connection.execute_wrapper(keep):
        call()
    ((sql, params),) = statements

    def run() -> object:
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall()

    return run


def main() -> int:
    """Measure and report."""
    report = Report()
    with scratch_database(), stub_provider() as stub:
        from django.contrib.auth.models import User

        from django_oauth_flows import flows
        from django_oauth_flows.flows.calling import StoredTokenSource
        from django_oauth_flows.protocol.session import OAuthSession

        provider: Any = stub.make_provider()
        connection = flows.import_connection(provider, User.objects.create(username="ada"), access_token="a" * 40)
        bare = requests.Session()
        bare.headers["Authorization"] = "Bearer " + "a" * 40
        bare.verify = stub.ca_bundle
        tuned = requests.Session()
        tuned.headers.update(bare.headers)
        tuned.verify, tuned.trust_env = stub.ca_bundle, False
        url = f"{stub.url}/api/items"
        stored = flows.session(connection)
        held = OAuthSession(Held(StoredTokenSource(connection.pk, purpose="").current()))
        variants: dict[str, Callable[[], object]] = {
            "bare": lambda: bare.get(url).content,
            "tuned": lambda: tuned.get(url).content,
            "held": lambda: held.get(url).content,
            "stored": lambda: stored.get(url).content,
            "select": select_of(lambda: stored.get(url)),
        }
        take_turns(variants, WARM)
        before = stub.connections()
        runs = [take_turns(variants, CALLS) for _ in range(RUNS)]
        opened = stub.connections() - before - 1  # the question before was a connection as well
    report.at_most("GET, token row already read", [r["held"] / r["bare"] for r in runs], 1.0)
    share = [(r["stored"] - r["bare"]) / r["select"] for r in runs]
    report.at_most("GET, token row read from the database: SELECTs beyond a bare GET", share, 1.3)
    report.at_most("new connections per call", [opened / (CALLS * RUNS * (len(variants) - 1))], 0, "")
    for name in variants:
        report.note(name, [r[name] * 1e6 for r in runs], " µs")
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
