"""What a release must hold, and what it must refuse to install beside."""

from __future__ import annotations

import configparser
import hashlib
import re
import tarfile
import tomllib
import zipfile
from email import message_from_string
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement

from django_oauth_flows import __version__
from tests.contract.conftest import build

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("wheel")


def contents(wheel: Path) -> dict[str, str]:
    """Return name → digest of the wheel's files, without the record that lists them."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            name: hashlib.sha256(archive.read(name)).hexdigest()
            for name in archive.namelist()
            if not name.endswith("RECORD")
        }


def requirements(wheel: Path) -> dict[str, Requirement]:
    """Return the run-time requirements by name, as the wheel's metadata states them."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (
            archive.read(name).decode() for name in archive.namelist() if name.endswith("dist-info/METADATA")
        )
    parsed = [Requirement(line) for line in message_from_string(metadata).get_all("Requires-Dist", [])]
    return {requirement.name.lower(): requirement for requirement in parsed if not requirement.marker}


def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


def test_setup_cfg_holds_import_contracts_and_nothing_else(root: Path) -> None:
    setup = configparser.ConfigParser()
    setup.read(root / "setup.cfg")
    assert setup.sections()
    assert [name for name in setup.sections() if not name.startswith("importlinter")] == []


def test_the_version_is_the_top_entry_of_the_changelog(root: Path) -> None:
    top = re.search(r"^## (\S+)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert top is not None
    assert top[1] == __version__


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path, source: Path) -> None:
    package = source / "django_oauth_flows"
    expected = {str(path.relative_to(source)) for path in package.rglob("*") if path.is_file()}
    assert {name for name in contents(wheel) if ".dist-info/" not in name} == expected


@pytest.mark.parametrize(
    "pattern",
    [
        r"py\.typed$",
        r"templates/oauth_flows/.+\.html$",
        r"static/.+",
        r"migrations/0001_initial\.py$",
        r"locale/\w+/LC_MESSAGES/django\.po$",
        r"locale/\w+/LC_MESSAGES/django\.mo$",
    ],
)
def test_the_wheel_ships_more_than_modules(wheel: Path, pattern: str) -> None:
    assert [name for name in contents(wheel) if re.match(f"django_oauth_flows/{pattern}", name)]


def test_the_sdist_builds_the_same_wheel_as_the_checkout(wheel: Path, source: Path, tmp_path: Path) -> None:
    build(source, tmp_path, "--wheel")
    (direct,) = tmp_path.glob("*.whl")
    assert contents(direct) == contents(wheel)


def test_the_sdist_holds_tests_docs_and_example(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "SECURITY.md",
        "tox.ini",
        "setup.cfg",
        "tests/run.py",
        "docs/reference.md",
        "example_project/run.py",
        ".ci/run",
    }
    assert wanted <= inside


@pytest.mark.security("C08")
@pytest.mark.parametrize(
    ("name", "refused", "accepted"),
    [
        ("urllib3", "2.6.3", "2.7.0"),
        ("requests", "2.32.3", "2.32.4"),
        ("pyjwt", "2.14.0", "2.15.0"),
        ("oauthlib", "4.0.0", "4.0.1"),
        ("oauthlib", "5.0.0", "4.1.0"),
        ("requests-oauthlib", "3.0.0", "2.0.0"),
        ("django", "5.2.2", "5.2.3"),
    ],
)
def test_metadata_refuses_versions_with_known_holes(wheel: Path, name: str, refused: str, accepted: str) -> None:
    specifier = requirements(wheel)[name].specifier
    assert not specifier.contains(refused, prereleases=True)
    assert specifier.contains(accepted)


def test_the_floor_environment_tests_exactly_the_declared_floors(root: Path) -> None:
    tox = configparser.ConfigParser()
    tox.read(root / "tox.ini")
    tested = {
        r.name: str(r.specifier).removeprefix("==") for r in map(Requirement, tox["testenv:floor"]["deps"].split())
    }
    declared = {}
    for requirement in map(Requirement, project(root)["project"]["dependencies"]):
        (declared[requirement.name],) = (s.version for s in requirement.specifier if s.operator == ">=")
    assert {name: tuple(map(int, v.split("."))) + (0,) * (2 - v.count(".")) for name, v in tested.items()} == {
        name: tuple(map(int, v.split("."))) + (0,) * (2 - v.count(".")) for name, v in declared.items()
    }


def test_every_supported_pair_of_python_and_django_has_a_classifier_and_a_group(root: Path) -> None:
    metadata = project(root)
    classifiers = metadata["project"]["classifiers"]
    djangos = [c.rpartition(" ")[2] for c in classifiers if re.match(r"Framework :: Django :: \d", c)]
    assert [f"django{version.replace('.', '')}" for version in djangos] == sorted(
        g for g in metadata["dependency-groups"] if g.startswith("django")
    )
