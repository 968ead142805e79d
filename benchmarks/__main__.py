"""Run every benchmark in turn, each in a process of its own: ``python -m benchmarks``. Exits with 1 if one misses its bound."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.harness import ROOT

NAMES = ("api_call", "dance", "fleet", "startup", "catalogue", "memory", "admin_list")


def main() -> int:
    """Run them all, whatever one of them says."""
    statuses = []
    for name in NAMES:
        print(f"\n{name}", flush=True)
        statuses.append(subprocess.call([sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT))
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
