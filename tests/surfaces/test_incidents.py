"""After an incident everything at one provider ends, whatever becomes of the process that does it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command
from django.db import connection as database

from django_oauth_flows import flows
from django_oauth_flows.exceptions import Disconnected
from django_oauth_flows.models import Connection, Revocation, Token
from django_oauth_flows.testing.factories import make_connection, make_provider

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

COMMAND = """
import sys, django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
django.setup()
from django.core.management import call_command
call_command("revoke_connections", "--provider=fake", "--rate=40", "--no-input", skip_checks=True)
"""

COUNT = 200


@pytest.mark.security("D09")
def test_an_incident_killed_midway_goes_on_where_it_was_and_serves_nothing_meanwhile(
    user: User, fake: FakeProvider
) -> None:
    provider = make_provider(fake, revocation_effect="token")
    made = [make_connection(provider, user, fake, subject=f"account-{number}") for number in range(COUNT)]
    root, environ = Path(__file__).resolve().parents[2], {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-c", COMMAND, str(database.settings_dict["NAME"])]
    process = subprocess.Popen(command, cwd=root, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until = time.monotonic() + 60
    while ended() < 20 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    last = Connection.objects.order_by("pk").last()
    assert last is not None
    assert last.status == "active"
    with pytest.raises(Disconnected, match="paused"):  # the switch comes first
        flows.access_token(last)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors.decode()[-2000:]
    before = ended()
    assert 20 <= before < COUNT

    Revocation.objects.update(lease_expires_at=None, lease_owner=None)  # the killed one's, two minutes later
    stdout, stderr = io.StringIO(), io.StringIO()
    options = ("--provider=fake", "--no-input", "--rate=1000")
    call_command("revoke_connections", "--dry-run", *options, stdout=stdout)
    assert stdout.getvalue().startswith(f"{COUNT - before} connections to end")
    call_command("revoke_connections", *options, stdout=stdout, stderr=stderr)
    assert stdout.getvalue().splitlines()[-1] == "Nothing is left."
    assert f"connections: {COUNT - before} of {COUNT - before}" in stderr.getvalue()
    assert set(Connection.objects.values_list("status", flat=True)) == {"revoked"}
    assert not Token.objects.exists()
    assert not [grant for grant in fake.oauth2.grants if grant.alive]
    assert Revocation.objects.count() == len(made)


def ended() -> int:
    return Connection.objects.filter(status="revoked").count()
