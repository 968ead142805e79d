"""200 MB down and up through a session, over both protocols: memory stays where it was.

``python -m benchmarks.memory``. Each transfer runs in a process of its own; its peak before and after is compared.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, RUNS, Report, stub_provider

SIZE, SLACK = 200 * 1024 * 1024, 8.0
CHUNK = 64 * 1024


def transfer(way: str, protocol: str, url: str, ca_bundle: str) -> None:
    """Move 200 MB through a session and print by how many MB the process has grown at its peak."""
    import resource

    from django_oauth_flows.protocol.messages import ClientRegistration, Credentials, ServerMetadata, TransportPolicy
    from django_oauth_flows.protocol.secret import Secret
    from django_oauth_flows.protocol.session import OAuthSession

    policy = TransportPolicy(api_base_url=f"{url}/api/", internal=True, ca_bundle=ca_bundle)
    server = ServerMetadata(token_endpoint=f"{url}/token")
    registration = ClientRegistration(
        name="stub",
        protocol=protocol,
        server=server,
        client_id="client",
        client_secret=Secret("s"),
        transport=policy,  # type: ignore[arg-type]
    )
    secret = Secret("token-secret") if protocol == "oauth1" else None

    class Source:
        def current(self, *, rejected: Any = None) -> Any:
            return registration, Credentials(Secret("a" * 40), secret)

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    with OAuthSession(Source()) as http:
        http.get("/items")
        http.get("/items?download=65536", stream=True).close()
        http.post("/items", data=iter([b"x" * CHUNK]))
        before = peak()
        moved = ACTIONS[way](http)
        assert moved >= SIZE, moved
    print(peak() - before)


def download(http: Any) -> int:
    """Read a large answer in pieces."""
    with http.get(f"/items?download={SIZE}", stream=True) as answer:
        return sum(len(chunk) for chunk in answer.iter_content(CHUNK))


def upload_pieces(http: Any) -> int:
    """Send a body that is made on the way."""
    return int(http.post("/items", data=(b"x" * CHUNK for _ in range(SIZE // CHUNK))).json()["received"])


def upload_file(http: Any) -> int:
    """Send a file."""
    with tempfile.TemporaryFile() as file:
        file.truncate(SIZE)
        return int(http.post("/items", data=file).json()["received"])


ACTIONS = {"download": download, "upload in pieces": upload_pieces, "upload of a file": upload_file}


def main() -> int:
    """Measure and report."""
    report = Report()
    with stub_provider() as stub:
        for protocol in ("oauth2", "oauth1"):
            for way in ACTIONS:
                command = [sys.executable, "-m", "benchmarks.memory", way, protocol, stub.url, stub.ca_bundle]
                grown = [
                    float(
                        subprocess.run(
                            command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True
                        ).stdout
                    )
                    for _ in range(RUNS)
                ]
                report.at_most(f"200 MB {way}, {protocol}", grown, SLACK, " MB")
    return report.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.path.insert(0, str(Path(ROOT)))
        transfer(*sys.argv[1:])
    else:
        sys.exit(main())
