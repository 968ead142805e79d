"""The example's settings, migrations and starter hold what its README says."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "example_project"


def _manage(*arguments: str, settings: str, var: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "EXAMPLE_VAR": str(var), "PYTHON": sys.executable}
    return subprocess.run(
        [sys.executable, str(EXAMPLE / "manage.py"), *arguments, "--settings", settings],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_production_settings_pass_the_deployment_checks_without_a_warning() -> None:
    done = subprocess.run(
        [str(EXAMPLE / "check_deploy")],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_the_deployment_checks_notice_what_is_missing(tmp_path: Path) -> None:
    done = _manage(
        "check",
        "--deploy",
        "--fail-level",
        "WARNING",
        settings="example_project.host.settings.development",
        var=tmp_path,
    )
    assert done.returncode != 0
    assert "security.W018" in done.stderr  # DEBUG


@pytest.mark.parametrize("site", ["service.settings", "host.settings.development"])
def test_no_migration_is_missing(site: str, tmp_path: Path) -> None:
    done = _manage("makemigrations", "--check", "--dry-run", settings=f"example_project.{site}", var=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_starter_needs_nothing_but_the_standard_library() -> None:
    tree = ast.parse((EXAMPLE / "run.py").read_text())
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names
