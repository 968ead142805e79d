"""Settings of a site that has no Django REST framework, for the ``nodrf`` tox environment."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as WITH_DRF

INSTALLED_APPS = [app for app in WITH_DRF if app != "rest_framework"]
ROOT_URLCONF = "tests.contract.urls_without_api"
