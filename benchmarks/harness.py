"""What the benchmarks share: paired runs, a report with bounds, a scratch database, a stub provider."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import requests
import trustme

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
RUNS = 5

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
    # A bare session would obey these; ours does not.
    os.environ.pop(name, None)
    os.environ.pop(name.lower(), None)


class Report:
    """Print each figure as the median of its runs beside its bound, and remember what was missed."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def at_most(self, name: str, values: Sequence[float], bound: float, unit: str = "x") -> None:
        """Report figures that have to stay at or below ``bound``."""
        self._line(name, values, f"at most {bound:g}{unit}", statistics.median(values) <= bound, unit)

    def at_least(self, name: str, values: Sequence[float], bound: float, unit: str = "x") -> None:
        """Report figures that have to reach ``bound``."""
        self._line(name, values, f"at least {bound:g}{unit}", statistics.median(values) >= bound, unit)

    def note(self, name: str, values: Sequence[float], unit: str) -> None:
        """Report figures without a bound."""
        print(f"      {name}: {statistics.median(values):.3g}{unit}")

    def close(self) -> int:
        """Return the exit code."""
        if self.missed:
            print(f"missed: {', '.join(self.missed)}")
        return 1 if self.missed else 0

    def _line(self, name: str, values: Sequence[float], bound: str, met: bool, unit: str) -> None:
        runs = " ".join(f"{value:.2f}" for value in values)
        print(
            f"{'ok' if met else 'MISS':4}  {name}: {statistics.median(values):.3g}{unit} ({bound}; runs {runs})",
            flush=True,
        )
        if not met:
            self.missed.append(name)


@contextmanager
def scratch_database() -> Iterator[str]:
    """Create and migrate a database, for the time of the block."""
    import django

    django.setup()
    from django.db import connection

    name = connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield name
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)


class Stub:
    """The stub provider's process, over TLS."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        self.ca_bundle = str(folder / "ca.pem")
        authority.cert_pem.write_to_path(self.ca_bundle)
        certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
        command = [sys.executable, str(ROOT / "benchmarks" / "provider.py"), str(folder / "server.pem")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = f"https://localhost:{int(self.process.stdout.readline())}"

    def connections(self) -> int:
        """Return how many TCP connections the server has accepted, without the one that asks."""
        answer = requests.get(f"{self.url}/stats", verify=self.ca_bundle, timeout=10)
        return int(json.loads(answer.content)["connections"]) - 1

    def make_provider(self) -> object:
        """Save a provider row that points at this server."""
        from django_oauth_flows.models import Provider
        from django_oauth_flows.protocol.secret import Secret

        provider = Provider(
            slug="stub",
            name="Stub",
            internal=True,
            ca_bundle=self.ca_bundle,
            authorization_endpoint=f"{self.url}/authorize",
            token_endpoint=f"{self.url}/token",
            api_base_url=f"{self.url}/api/",
            identity_source="token_response",
            scopes=("read",),
            client_id="client",
        )
        provider.seal("client_secret", Secret("client-secret"))
        provider.save()
        return provider


@contextmanager
def stub_provider() -> Iterator[Stub]:
    """Run a stub provider in a process of its own, so that only our side's CPU time is ours."""
    with tempfile.TemporaryDirectory() as folder:
        stub = Stub(Path(folder))
        try:
            yield stub
        finally:
            stub.process.kill()
            stub.process.wait()
