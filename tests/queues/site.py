"""A site with Celery on the tests' database: ``celery -A tests.queues.site worker``."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

TASKS = "django_oauth_flows.tasks"


def make_app(broker: str, results: str, name: str) -> Celery:
    """Return an app whose queue, exchange and keys are called ``name``, so that nobody else's are touched."""
    keys = {"global_keyprefix": f"{name}."} if broker.startswith("redis") else {}
    app = Celery(name, broker=broker, backend=results, set_as_current=False)
    app.conf.update(
        task_default_queue=name,
        broker_transport_options=keys,
        result_backend_transport_options=keys,
        result_expires=60,
        broker_connection_retry_on_startup=True,
        worker_enable_remote_control=False,
        worker_prefetch_multiplier=1,
        beat_schedule={"refresh": {"task": f"{TASKS}.refresh_connections", "schedule": 1.0, "kwargs": {"workers": 4}}},
    )
    return app


def use_database(name: str) -> None:
    """Let this process work on the tests' own database."""
    from django.conf import settings

    database: dict[str, Any] = settings.DATABASES["default"]
    database["NAME"] = name


if "TESTS_DATABASE" in os.environ:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    use_database(os.environ["TESTS_DATABASE"])

if "TESTS_QUEUE" in os.environ:
    app = make_app(os.environ["TESTS_BROKER"], os.environ["TESTS_RESULTS"], os.environ["TESTS_QUEUE"])
    app.set_default()
    app.autodiscover_tasks()
