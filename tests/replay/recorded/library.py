"""The library that records or replays: ours, or the official SDK when `REPLAY_LIBRARY` is `temporalio`.

A process uses only one of them.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

NAME = os.environ.get("REPLAY_LIBRARY", "perdure")

activity: Any = importlib.import_module(f"{NAME}.activity")
client: Any = importlib.import_module(f"{NAME}.client")
common: Any = importlib.import_module(f"{NAME}.common")
exceptions: Any = importlib.import_module(f"{NAME}.exceptions")
worker: Any = importlib.import_module(f"{NAME}.worker")
workflow: Any = importlib.import_module(f"{NAME}.workflow")
