"""Settings of the processes that a chaos test starts: as the suite's, on the database that ``CHAOS_DATABASE`` describes (JSON)."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403

DATABASES = {"default": json.loads(os.environ["CHAOS_DATABASE"])}
