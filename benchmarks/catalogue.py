"""What the catalogue costs: nothing before it is asked for, and then the reading of its files.

``python -m benchmarks.catalogue``. Every figure comes from a process of its own that has set Django up before the clock starts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

from benchmarks.harness import ROOT, RUNS, Report

SCRIPT = """
import json, os, sys, time
os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
import django
django.setup()
loaded = [name for name in sys.modules if name.startswith("django_oauth_flows.catalogue")]
clock = time.process_time
began = clock()
from django_oauth_flows import catalogue
catalogue.{call}
took = clock() - began
began = clock()
catalogue.{call}
print(json.dumps({{"loaded": len(loaded), "first": took, "again": clock() - began}}))
"""

CALLS = {
    "one entry": 'find("github")',
    "one entry of a family": 'find("google-drive")',
    "a search": 'search("google drive")',
}


def measure(call: str, cache: str) -> dict[str, float]:
    """Ask in a fresh process; return CPU seconds, and how many of its modules were loaded before."""
    # Compiled bytecode, as an installed package has it, whatever this machine's environment says.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environ["PYTHONPYCACHEPREFIX"] = cache
    command = [sys.executable, "-c", SCRIPT.format(call=call)]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> int:
    """Measure and report."""
    report = Report()
    with tempfile.TemporaryDirectory() as cache:
        measure('find("github")', cache)
        for name, call in CALLS.items():
            runs = [measure(call, cache) for _ in range(RUNS)]
            report.at_most(f"{name}: modules loaded at start-up", [run["loaded"] for run in runs], 0, "")
            report.at_most(f"{name}: first", [run["first"] * 1e3 for run in runs], 50, " ms")
            report.note(f"{name}: again", [run["again"] * 1e3 for run in runs], " ms")
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
