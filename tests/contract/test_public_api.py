"""What is public is listed, and the list is what exists."""

from __future__ import annotations

import inspect
import subprocess
import sys

import django_oauth_flows
from django_oauth_flows import flows, models
from tests.contract.reference import ROOT, documented, section


def test_the_documented_verbs_are_the_exported_ones() -> None:
    assert documented("Verbs") == set(flows.__all__)


def test_every_verb_loads_takes_keywords_after_its_subject_and_says_what_it_does() -> None:
    for name in flows.__all__:
        verb = getattr(flows, name)
        assert inspect.getdoc(verb), name
        if inspect.isfunction(verb):
            positional = [p for p in inspect.signature(verb).parameters.values() if p.kind is not p.KEYWORD_ONLY]
            assert len(positional) <= 2, name


def test_the_documented_parameters_are_the_real_ones() -> None:
    for name in flows.__all__:
        for parameter in inspect.signature(getattr(flows, name)).parameters:
            row = next(line for line in section("Verbs").splitlines() if line.startswith(f"| `{name}("))
            assert parameter in row, f"{name}: {parameter}"


def test_the_documented_models_are_the_exported_ones() -> None:
    assert documented("Models") == set(models.__all__)


def test_importing_the_package_imports_nothing_else() -> None:
    program = (
        "import sys; before = set(sys.modules); import django_oauth_flows; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"django_oauth_flows", "__future__"}
    assert django_oauth_flows.__version__
