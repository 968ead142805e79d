"""The README's blocks, and nothing else, make a site that connects, calls and disconnects over both protocols."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from example_project.servers import start_service
from tests.contract.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.xdist_group("wheel")

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS: dict[str, str] = dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', README, re.MULTILINE | re.DOTALL))


def commands(title: str) -> list[list[str]]:
    """Return the commands of a console block as argument lists."""
    return [shlex.split(line, comments=True) for line in BLOCKS[title].splitlines()]


class Site:
    """A project in an empty folder that knows the installed wheel and no checkout."""

    def __init__(self, folder: Path, python: Path, environment: dict[str, str]) -> None:
        self.folder, self.python = folder, python
        self.environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **environment}

    def run(self, *arguments: str) -> str:
        """Run ``python …`` there and return what it prints."""
        done = subprocess.run(
            [self.python, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
        return done.stdout

    def write(self, title: str) -> None:
        """Add a block to the file it names."""
        file = self.folder / title
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write("\n" + BLOCKS[title])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def serving(site_python: Path, tmp_path: Path) -> Iterator[tuple[Site, dict[str, str]]]:
    """Build the site as the README says, beside the example's service, and serve it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with start_service(tmp_path / "service") as service:
        application = service.register_application("Mine", redirect_uris=[f"{url}/oauth/callback/notebook/"])
        consumer = service.register_consumer("Mine", callbacks=[f"{url}/oauth/callback/notebook-classic/"])
        reporter = service.register_application("Mine, totals", grant="client-credentials")
        member = service.members[0]
        bearer = service.issue_oauth2(member.username, client_id=application.client_id)
        pair = service.issue_oauth1(member.username, key=consumer.key)
        environment = {
            "NOTEBOOK_URL": service.url,
            "OAUTH2_CLIENT_ID": application.client_id,
            "OAUTH2_CLIENT_SECRET": application.client_secret,
            "OAUTH1_CONSUMER_KEY": consumer.key,
            "OAUTH1_CONSUMER_SECRET": consumer.secret,
            "DJANGO_SUPERUSER_PASSWORD": "correct horse battery staple",
            "SITE_URL": url,
            "MEMBER": member.username,
            "MEMBER_PASSWORD": member.password,
            "TOTALS_CLIENT_ID": reporter.client_id,
            "TOTALS_CLIENT_SECRET": reporter.client_secret,
            **dict(
                zip(
                    ("ACCESS_TOKEN", "REFRESH_TOKEN", "OAUTH1_TOKEN", "OAUTH1_TOKEN_SECRET"), bearer + pair, strict=True
                )
            ),
        }
        folder = tmp_path / "empty"
        folder.mkdir()
        site = Site(folder, site_python, environment)
        (_, start_project) = commands("install")
        site.run(*start_project[1:])
        for title in BLOCKS:
            if "." in title:
                site.write(title)
        *preparations, serve = commands("prepare")
        for command in preparations:
            site.run(*command[1:])
        with (tmp_path / "site.log").open("w") as log:
            server = subprocess.Popen(
                [site_python, *serve[1:], "--noreload", f"127.0.0.1:{port}"],
                cwd=folder,
                env=site.environment,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            wait_for(port, server)
            yield site, environment
        finally:
            server.terminate()
            server.wait(timeout=20)


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert server.poll() is None, "the site has ended"
        time.sleep(0.1)
    raise AssertionError("the site does not answer")


def test_the_readmes_site_connects_calls_and_disconnects_over_both_protocols(
    serving: tuple[Site, dict[str, str]], tmp_path: Path
) -> None:
    site, environment = serving
    where = site.run("-c", "import django_oauth_flows; print(django_oauth_flows.__file__)")
    assert Path(where.strip()).is_relative_to(site.python.parents[1])
    journey = subprocess.run(
        [sys.executable, site.folder / "journey.py"],
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert journey.returncode == 0, journey.stderr[-3000:] + (tmp_path / "site.log").read_text()[-4000:]
    assert "The engine weaves algebraic patterns." in journey.stdout
    assert "Sunrise" in journey.stdout


def test_the_readmes_script_calls_with_tokens_it_has_and_as_the_site_itself(
    serving: tuple[Site, dict[str, str]],
) -> None:
    site, _ = serving
    site.run("manage.py", "shell", "--command", TOTALS)
    printed = site.run("manage.py", "shell", "--command", "exec(open('script.py').read())")
    assert printed.count("Ada") == 2
    assert "'notes':" in printed


TOTALS = """
import os
from django_oauth_flows.models import Provider
from django_oauth_flows.protocol.secret import Secret
service = os.environ["NOTEBOOK_URL"]
totals = Provider(
    slug="notebook-totals", name="Totals", client_id=os.environ["TOTALS_CLIENT_ID"], scopes=["statistics"], internal=True,
    token_endpoint=f"{service}/oauth2/token/", api_base_url=f"{service}/api/",
)
totals.seal("client_secret", Secret(os.environ["TOTALS_CLIENT_SECRET"]))
totals.full_clean()
totals.save()
"""
"""What staff would enter in the admin."""


def test_every_block_of_code_has_a_title_and_so_is_run() -> None:
    assert not re.findall(r"^```python\n", README, re.MULTILINE)


def test_the_two_commands_of_the_readme_exist() -> None:
    for command in re.findall(r"^python3 (\S+\.py)", README, re.MULTILINE):
        assert (ROOT / command).is_file(), command
