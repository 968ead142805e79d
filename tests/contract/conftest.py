"""Build the distribution once, and install it once into an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_SOURCE = shutil.ignore_patterns(
    ".git", ".venv*", ".tox", "*_cache", ".hypothesis", "__pycache__", "*.egg-info", "build", "dist", "var", "*.sqlite3*", ".test*",
)  # fmt: skip


def build(source: Path, target: Path, *options: str) -> None:
    """Run ``python -m build`` as a release does, in its isolated environment."""
    command = [sys.executable, "-m", "build", *options, "--outdir", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout, so that building leaves nothing behind and finds nothing stale."""
    return shutil.copytree(ROOT, tmp_path_factory.mktemp("source") / "tree", ignore=NOT_SOURCE)


@pytest.fixture(scope="session")
def dist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a fresh sdist and of the wheel that was built from it."""
    target = tmp_path_factory.mktemp("dist")
    build(source, target)
    return target


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    """Return the fresh wheel."""
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def site_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a new environment that holds nothing but the wheel and its dependencies."""
    environment = tmp_path_factory.mktemp("site") / "venv"
    venv.EnvBuilder(with_pip=True).create(environment)
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return python
