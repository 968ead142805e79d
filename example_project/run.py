#!/usr/bin/env python3
"""Run the example on a machine that has only Python 3.11 or newer, with venv and pip.

``python3 example_project/run.py`` starts the demo, ``python3 example_project/run.py --check`` walks every journey and
reports. The first run makes a virtual environment, ``.venv-example``, and installs this checkout into it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-example"
OLDEST = (3, 11)


def main() -> int:
    """Prepare the environment, then hand over to ``manage.py demo``."""
    if sys.version_info < OLDEST:
        print(f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed; this is {sys.version.split()[0]}.", file=sys.stderr)
        return 1
    try:
        with _alone():
            python = _prepared()
    except PermissionError as error:
        print(f"{error.filename} cannot be written: copy the checkout to a folder of your own.", file=sys.stderr)
        return 1
    command = [str(python), str(ROOT / "example_project" / "manage.py"), "demo", *sys.argv[1:]]
    if os.name == "posix":
        os.execv(python, command)  # noqa: S606 - no shell; Ctrl-C then reaches the demo alone
    return subprocess.call(command)  # noqa: S603 - our own command


@contextmanager
def _alone() -> Iterator[None]:
    """Let a second run wait: both would make the same environment."""
    with ENVIRONMENT.with_suffix(".lock").open("w") as lock:
        if os.name == "posix":
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prepared() -> Path:
    python = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = ENVIRONMENT / "installed"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + sys.version.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    print("Making .venv-example and installing the example's packages; this happens once.", flush=True)
    venv.create(ENVIRONMENT, clear=True, with_pip=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--editable", f"{ROOT}[example]"]
    subprocess.run([python, *install], check=True)  # noqa: S603 - our own command
    stamp.write_text(wanted)
    return python


if __name__ == "__main__":
    sys.exit(main())
