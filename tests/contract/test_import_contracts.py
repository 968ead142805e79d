"""The layers of the architecture, enforced by import-linter's contracts in setup.cfg."""

from __future__ import annotations

import configparser
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def test_imports_keep_every_contract(root: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
        "--no-cache",
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken." in done.stdout


def test_the_layers_contract_covers_every_module(root: Path) -> None:
    contracts = configparser.ConfigParser()
    contracts.read(root / "setup.cfg")
    assert contracts["importlinter:contract:layers"].getboolean("exhaustive")
    sections = [name for name in contracts.sections() if name.startswith("importlinter:contract:")]
    assert {"layers", "forbidden"} == {contracts[name]["type"] for name in sections}
