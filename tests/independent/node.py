"""Node.js and the npm packages of the tests: found or fetched once, into ``.test-node`` of the checkout.

``python -m tests.independent.node`` does so and says what it has found. The versions are those of ``package-lock.json``.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OLDEST = (20, 0)
"""What oidc-provider 9 runs on; it names 22 as the oldest that it supports."""

NEWER = "22.23.3"
"""The version of npm's ``node`` package that is used where the machine's own is older."""

SOURCE = Path(__file__).resolve().parent / "oidc_provider"
CACHE = SOURCE.parents[2] / ".test-node"
PATIENCE = 900  # seconds: registries may be slow


class Missing(Exception):
    """There is no Node.js here, or npm cannot fetch what is needed."""


@cache
def oidc_provider() -> tuple[Path, Path]:
    """Return the interpreter, and our server script in a folder that has its packages; raise :class:`Missing`."""
    npm = shutil.which("npm")
    if npm is None:
        raise Missing("npm is not installed")
    with _alone():
        return _interpreter(npm), _packages(npm) / "server.mjs"


def has_oidc_provider() -> bool:
    """Tell whether the server can be run here."""
    try:
        oidc_provider()
    except Missing:
        return False
    return True


@contextmanager
def _alone() -> Iterator[None]:
    """Let a second run wait: both would fetch the same."""
    import fcntl

    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _interpreter(npm: str) -> Path:
    own = shutil.which("node")
    if own and _version(Path(own)) >= OLDEST:
        return Path(own)
    place = CACHE / f"node-{NEWER}"
    node = place / "node_modules" / "node" / "bin" / "node"
    if not node.is_file():
        place.mkdir(exist_ok=True)
        _run(npm, "install", "--no-save", "--no-package-lock", f"node@{NEWER}", place=place)
    return node


def _packages(npm: str) -> Path:
    """Return a folder with our script and the packages of its lock file; a changed lock file is another folder."""
    recipe = hashlib.sha256((SOURCE / "package-lock.json").read_bytes()).hexdigest()[:16]
    place = CACHE / f"oidc-provider-{recipe}"
    ready = place / "ready"
    place.mkdir(exist_ok=True)
    for file in SOURCE.iterdir():
        shutil.copy(file, place)
    if not ready.is_file():
        _run(npm, "ci", "--ignore-scripts", place=place)
        ready.touch()
    return place


def _version(node: Path) -> tuple[int, int]:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _run(npm: str, *arguments: str, place: Path) -> None:
    command = [npm, *arguments, "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise Missing(f"npm {arguments[0]} did not end within {PATIENCE} s") from None
    if done.returncode:
        raise Missing(f"npm {arguments[0]} failed: {done.stderr[-1000:]}")


if __name__ == "__main__":
    node, script = oidc_provider()
    print(f"Node.js {'.'.join(map(str, _version(node)))}; oidc-provider in {script.parent.name}")
