"""Staff's list of connections against django-allauth's lists of social tokens and accounts, on the same number of rows.

``python -m benchmarks.admin_list``: the same people have as many of both. ``ADMIN_ROWS`` says how many; a page is asked for
through Django's test client, so that queries, rendering and nothing else are in the figure.
"""

from __future__ import annotations

import os
import sys
import time

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.admin_settings"

from typing import TYPE_CHECKING

from benchmarks.harness import RUNS, Report, scratch_database

if TYPE_CHECKING:
    from django.test import Client

ROWS = int(os.environ.get("ADMIN_ROWS", "1000000"))

OURS, TOKENS, ACCOUNTS = (
    f"/admin/{page}/" for page in ("oauth_flows/connection", "socialaccount/socialtoken", "socialaccount/socialaccount")
)

USERS = """
INSERT INTO auth_user (username, password, is_superuser, is_staff, is_active, first_name, last_name, email, date_joined)
SELECT 'user-' || n, '!', false, false, true, '', '', '', now() FROM generate_series(1, %s) n
"""
CONNECTIONS = """
INSERT INTO oauth_flows_connection ({columns})
SELECT {values} FROM oauth_flows_connection t CROSS JOIN auth_user u WHERE u.username LIKE 'user-%%'
"""
OUR_TOKENS = """
INSERT INTO oauth_flows_token ({columns})
SELECT {values} FROM oauth_flows_token t CROSS JOIN oauth_flows_connection c WHERE c.id <> t.connection_id
"""
THEIR_ACCOUNTS = """
INSERT INTO socialaccount_socialaccount (provider, uid, last_login, date_joined, extra_data, user_id)
SELECT 'github', 'subject-' || u.id, now(), now(), '{}', u.id FROM auth_user u WHERE u.username LIKE 'user-%%'
"""
THEIR_TOKENS = """
INSERT INTO socialaccount_socialtoken (token, token_secret, expires_at, account_id, app_id)
SELECT repeat('t', 40), '', now(), a.id, %s FROM socialaccount_socialaccount a
"""


def fill() -> None:
    """Make the rows: one of ours is made by the package and copied, theirs are written as allauth would."""
    from allauth.socialaccount.models import SocialApp
    from django.contrib.auth.models import User
    from django.db import connection as database

    from django_oauth_flows import flows
    from django_oauth_flows.models import Connection, Provider, Token

    provider = Provider.objects.create(
        slug="github", name="GitHub", client_id="c", token_endpoint="https://as.example/token"
    )
    owner = User.objects.create_superuser("root")
    flows.import_connection(provider, owner, access_token="a", refresh_token="r", subject="0")  # type: ignore[arg-type]
    app = SocialApp.objects.create(provider="github", name="GitHub", client_id="c")
    ours = {
        "id": "gen_random_uuid()", "subject": "'subject-' || u.id", "label": "'Account ' || u.id", "user_id": "u.id",
        "owner_id": "u.id::text", "created_at": "t.created_at - u.id * interval '1 second'",
    }  # fmt: skip
    tokens = {"id": "gen_random_uuid()", "connection_id": "c.id"}
    with database.cursor() as cursor:
        cursor.execute(USERS, [ROWS])
        for statement, model, changed in ((CONNECTIONS, Connection, ours), (OUR_TOKENS, Token, tokens)):
            names = [str(field.column) for field in model._meta.concrete_fields]
            values = ", ".join(changed.get(name, f't."{name}"') for name in names)
            cursor.execute(statement.format(columns=", ".join(names), values=values), [])
        cursor.execute(THEIR_ACCOUNTS, [])
        cursor.execute(THEIR_TOKENS, [app.pk])
        cursor.execute("VACUUM ANALYZE")


def seconds(client: Client, url: str) -> float:
    """Return how long a page takes."""
    began = time.perf_counter()
    response = client.get(url)
    assert response.status_code == 200, url
    return time.perf_counter() - began


def main() -> int:
    """Measure and report."""
    report = Report()
    with scratch_database():
        fill()
        from allauth.socialaccount.models import SocialApp
        from django.contrib.auth.models import User
        from django.test import Client

        from django_oauth_flows.models import Provider

        client = Client()
        client.force_login(User.objects.get(username="root"))
        provider, app = Provider.objects.get(), SocialApp.objects.get()
        pairs = {
            "list": (OURS, TOKENS),
            "filter": (f"{OURS}?provider__id__exact={provider.pk}", f"{TOKENS}?app__id__exact={app.pk}"),
            "search": (f"{OURS}?q=user-77", f"{ACCOUNTS}?q=user-77"),
        }
        for name, (ours, theirs) in pairs.items():
            seconds(client, ours), seconds(client, theirs)  # what is loaded at first use
            runs = [(seconds(client, ours), seconds(client, theirs)) for _ in range(RUNS)]
            report.at_most(f"{name} of {ROWS:,} against allauth's", [us / them for us, them in runs], 0.5)
            report.note(f"{name}, ours", [1000 * us for us, _ in runs], " ms")
            report.note(f"{name}, theirs", [1000 * them for _, them in runs], " ms")
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
