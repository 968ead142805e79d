"""The demo as people run it: a command, its output, its exit status."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from example_project.demo.report import Report, expect

if TYPE_CHECKING:
    from collections.abc import Iterator

MANAGE = Path(__file__).resolve().parents[2] / "example_project" / "manage.py"
STEPS = (
    *(f"step {number} of 7" for number in range(1, 8)),
    *(f"step {number} of 5" for number in range(1, 6)),
    "the access token expires",
    "the refresh token was rotated",
    "the site has recorded what was granted",
    "the same connection can do more",
    "her account is connected",
    "the form is sent",
    "the site gets a token of its own",
    "a script imports the pair",
    "the copy no longer works at the service",
)


def _demo(*arguments: str, var: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(MANAGE), "demo", *arguments],
        env={
            **os.environ,
            "EXAMPLE_VAR": str(var),
            "PYTHONIOENCODING": "utf-8",
            "DJANGO_SETTINGS_MODULE": "example_project.host.settings.development",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the demo for a person, and see to it that it ends."""
    with _demo(var=tmp_path) as process:
        yield process
        process.kill()


def test_check_walks_every_journey_and_says_so(tmp_path: Path) -> None:
    with _demo("--check", var=tmp_path) as process:
        out, err = process.communicate(timeout=170)
    assert process.returncode == 0, out + err
    assert "✗" not in out
    for step in STEPS:
        assert re.search(rf"✓ .*{re.escape(step)}", out), step


def test_the_demo_says_what_to_open_and_stops_on_ctrl_c(running: subprocess.Popen[str]) -> None:
    assert running.stdout is not None
    shown = ""
    while "Ctrl-C" not in shown:
        line = running.stdout.readline()
        assert line, running.communicate()[1]
        shown += line
    for url in re.findall(r"http://\S+", shown):
        assert requests.get(url, timeout=10).status_code == 200, url
    assert "log in as ada with the password ada-at-her-desk" in shown
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=90)
    assert running.returncode == 0, out + err
    for url in re.findall(r"http://\S+", shown):
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=5)


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with _demo("--check", "--site-port", str(port), var=tmp_path) as process:
            out, err = process.communicate(timeout=120)
    assert process.returncode != 0, out
    assert f"127.0.0.1:{port}" in err


def test_a_failed_step_is_named_with_its_cause_and_ends_its_journey_only() -> None:
    out = io.StringIO()
    report = Report(out)
    with report.journey("first"):
        with report.step("opens the door"):
            expect(False, "It is locked.")
        with report.step("walks in"):
            raise AssertionError
    with report.journey("second"), report.step("stays outside"):
        pass
    assert report.failures == ["first: opens the door"]
    assert report.passed == 1
    assert "It is locked." in out.getvalue()
    assert "walks in" not in out.getvalue()
