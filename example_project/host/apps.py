"""The site as a Django application."""

from __future__ import annotations

from django.apps import AppConfig


class HostConfig(AppConfig):
    """Pages that show what a user has elsewhere."""

    name = "example_project.host"
