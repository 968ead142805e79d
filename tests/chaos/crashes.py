"""The crash campaign: thousands of refreshes, most of them killed or their answer dropped, and no grant lost.

``python -m tests.chaos.crashes --attempts 10000 --seed 1 --grace 30 --database postgresql``. It makes a scratch database
on the configured server and drops it again, prints one table, and exits with 1 on any violation. docs/chaos.md explains it.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trustme

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.chaos.campaign import Row, Score
    from tests.chaos.findings import Findings
    from tests.chaos.scripted import ScriptedProvider

LIFETIME = 1
"""Seconds that an access token lasts, so that every row is due again at once."""

SPARE = 0.6
"""Without a grace window a loss ends a row's part: so many grants for each attempt suffice."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign; return the exit code."""
    options = _parse(arguments)
    with _scratch_database(options.database), tempfile.NamedTemporaryFile(suffix=".pem") as bundle:
        # One authority, which nobody needs: to load the usual ones costs each new process more than its refresh.
        trustme.CA().cert_pem.write_to_path(bundle.name)
        began = time.monotonic()
        score, findings = _run(options, bundle.name)
        _print(options, score, findings, seconds=time.monotonic() - began)
    violations = [*score.violations, *findings.violations]
    for violation in violations[:50]:
        print(f"VIOLATION {violation}")
    print(f"{len(violations)} violations" if violations else "no violation")
    return 1 if violations else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.crashes", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--attempts", type=int, default=300, help="at least so many (300)")
    parser.add_argument("--each", type=int, help="kills at each failpoint, at least (a twentieth of the attempts)")
    parser.add_argument(
        "--seed", type=int, default=time.time_ns() % 100_000, help="of the fates; else drawn, and printed"
    )
    parser.add_argument(
        "--grace", type=int, default=30, help="seconds in which a rotated token still works; 0: none (30)"
    )
    parser.add_argument(
        "--lease", type=int, default=1, help="seconds (1); from 2 on a lost answer is asked for at once"
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql", "mariadb"), default=os.environ.get("DATABASE"))
    parser.add_argument("--workers", type=int, default=4, help="processes at a time (4)")
    options = parser.parse_args(arguments)
    options.each = options.attempts // 20 if options.each is None else options.each
    return options


@contextmanager
def _scratch_database(vendor: str | None) -> Iterator[None]:
    """Set Django up, and make a database that nobody else uses, for the time of the block."""
    os.environ["DATABASE"] = vendor or "sqlite"
    os.environ["TEST_SUFFIX"] = f"{os.environ.get('TEST_SUFFIX', '')}_crashes{os.getpid()}"
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()
    from django.db import connection

    name = connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)


def _run(options: argparse.Namespace, ca_bundle: str) -> tuple[Score, Findings]:
    from django.db import connections

    from tests.chaos.campaign import IN_PLAY, Campaign
    from tests.chaos.findings import come_to_rest, compare
    from tests.chaos.scripted import Remote, ScriptedProvider

    count = min(IN_PLAY, max(40, options.attempts // 5)) if options.grace else int(options.attempts * SPARE)
    fake = ScriptedProvider(grace=options.grace, lifetime=LIFETIME)
    policy = {"lease_duration": options.lease, "reuse_grace": options.grace or None, "ca_bundle": ca_bundle}
    rows = _make_rows(fake, count, seed=options.seed, **policy)
    connections.close_all()  # what is open here would be open in every fork
    remote = Remote(fake)
    _warm_up(rows.pop())
    connections.close_all()
    gc.freeze()
    campaign = Campaign(remote, rows, lease=options.lease, workers=options.workers)
    score = campaign.run(options.attempts, each=options.each, progress=_tell)
    used = [row for row in rows if row.attempts]
    score.violations += come_to_rest(used, remote)
    findings = compare(used, remote, grace=bool(options.grace))
    remote.stop()
    return score, findings


def _make_rows(fake: ScriptedProvider, count: int, *, seed: int, **columns: Any) -> list[Row]:
    """Make connections, each at a provider row of its own, so that a sweep can be sent to one of them; and one to spare."""
    from datetime import timedelta

    from django.contrib.auth.models import User

    from django_oauth_flows.testing.factories import make_connection, make_provider
    from tests.chaos.campaign import make_row

    owner, rows = User.objects.create(username="campaign"), []
    for number in range(count + 1):
        provider = make_provider(fake, slug=f"row-{number}", **columns)
        connection = make_connection(provider, owner, fake, expires_in=timedelta(seconds=-1))
        rows.append(make_row(number, connection.pk, provider.pk, seed=seed))
    return rows


def _warm_up(row: Row) -> None:
    """Refresh once in the parent, so that everything is imported and compiled before the first fork."""
    from django_oauth_flows import flows
    from django_oauth_flows.models import Connection, Provider

    flows.access_token(Connection(pk=row.connection_id))
    flows.refresh_due(provider=Provider(pk=row.provider_id))


def _tell(score: Score) -> None:
    print(f"... {score.attempts} attempts, {score.failed} failed", file=sys.stderr, flush=True)


def _print(options: argparse.Namespace, score: Score, findings: Findings, *, seconds: float) -> None:
    command = (
        f"python -m tests.chaos.crashes --attempts {options.attempts} --seed {options.seed} --grace {options.grace} "
        f"--lease {options.lease} --database {os.environ['DATABASE']} --workers {options.workers}"
    )
    lines = {
        "attempts": score.attempts,
        "killed or answer lost": score.failed,
        "directly after another failure": score.again,
        **{f"SIGKILL at {name}": number for name, number in sorted(score.kills.items())},
        **{f"answer lost: {name}": number for name, number in sorted(score.lost_answers.items())},
        **{f"survivors said {name}": number for name, number in sorted(score.outcomes.items())},
        "grants in play": findings.alive + findings.lost,
        "grants lost": findings.lost,
        "of these reported as outcome_unknown": findings.reported,
        "seconds": round(seconds),
    }
    print(f"\n`{command}`\n\n| what | number |\n|---|---|")
    for name, number in lines.items():
        print(f"| {name} | {number} |")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
