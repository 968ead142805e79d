"""Delegated access for Django: connect an account over OAuth 1.0a or OAuth 2 and call its API."""

from __future__ import annotations

__version__ = "0.1.0"
