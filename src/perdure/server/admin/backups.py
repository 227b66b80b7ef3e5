"""Copies of databases, for the command line: see `perdure.storage.sqlite_backup`."""

from __future__ import annotations

from perdure.storage.port import OpenError
from perdure.storage.sqlite_backup import back_up

__all__ = ["OpenError", "back_up"]
