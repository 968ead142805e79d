"""The service as a Django application."""

from __future__ import annotations

from django.apps import AppConfig


class ServiceConfig(AppConfig):
    """Notes, photos, and an OAuth 1.0a server beside django-oauth-toolkit's OAuth 2 server."""

    name = "example_project.service"
    default_auto_field = "django.db.models.BigAutoField"
