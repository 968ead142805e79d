"""A site of its own process, whose metrics libraries can be taken away: run by ``test_metrics.py``.

The first argument is JSON: ``blocked`` (modules that cannot be imported), ``metrics`` (the setting), ``taken`` (whether
somebody else has registered our name at Prometheus). Writes JSON.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from django.conf import settings as site

OPTIONS = json.loads(sys.argv[1])


class Blocker:
    """Let nobody import what is not installed here."""

    def find_spec(self, name: str, *_: Any) -> None:
        """Refuse."""
        if name.partition(".")[0] in OPTIONS["blocked"]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


class Keeper(logging.Handler):
    """Remember what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.said.append(record.getMessage())


def main() -> None:
    """Refresh twice, and say what came of it."""
    sys.meta_path.insert(0, Blocker())  # type: ignore[arg-type]
    site.configure(
        SECRET_KEY="metrics-" + "k" * 50,
        USE_TZ=True,
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_oauth_flows"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        OAUTH_FLOWS={"METRICS": OPTIONS["metrics"]},
    )
    import django

    django.setup()
    if OPTIONS["taken"]:
        from prometheus_client import Counter

        Counter("oauth_flows_refreshes_total", "Somebody else's.")
    keeper = Keeper()
    logging.getLogger("oauth_flows").addHandler(keeper)
    sys.stdout.write(json.dumps({"generation": refreshed_twice(), "said": keeper.said, "loaded": loaded()}))


def refreshed_twice() -> int:
    """Return which generation of its token a connection has then."""
    from django.contrib.auth.models import User
    from django.core.management import call_command

    from django_oauth_flows import flows
    from django_oauth_flows.testing import FakeProvider
    from django_oauth_flows.testing.factories import make_connection, make_provider

    call_command("migrate", verbosity=0)
    with FakeProvider() as fake:
        connection = make_connection(make_provider(fake), User.objects.create_user("ada"), fake)
        flows.refresh(connection)
        flows.refresh(connection)
        connection.token.refresh_from_db()
        return int(connection.token.generation)


def loaded() -> list[str]:
    """Return the metrics libraries that were imported."""
    return sorted({"opentelemetry", "prometheus_client"} & set(sys.modules))


if __name__ == "__main__":
    main()
