"""Reads the recorded histories, for tests with our library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from perdure.client.history import WorkflowHistory

DATA = Path(__file__).parent / "data"
OFFICIAL = "reference-server-official-worker"
REFUSED = "differs_on_replay"
"""The history of a workflow that is not deterministic and cannot replay it."""


def paths() -> list[Path]:
    return sorted(DATA.glob("*/*.json"))


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def load(scenario: str, folder: str = OFFICIAL) -> WorkflowHistory:
    """Load one history, by default that of the official worker on the reference server."""
    return read(DATA / folder / f"{scenario}.json")


def read(path: Path) -> WorkflowHistory:
    return _history(json.loads(path.read_text()))


def without_flags(scenario: str, key: str) -> WorkflowHistory:
    """A history without the flags under `key`, as an SDK that does not know them would have written it."""
    document: dict[str, Any] = json.loads(load(scenario).to_json())
    for event in document["events"]:
        attributes = event.get("workflowTaskCompletedEventAttributes", {})
        attributes.get("sdkMetadata", {}).pop(key, None)
    return _history(document)


def _history(document: dict[str, Any]) -> WorkflowHistory:
    """Load a history under its recorded workflow id, because ids of children are derived from it."""
    started = document["events"][0]["workflowExecutionStartedEventAttributes"]
    return WorkflowHistory.from_json(started["workflowId"], document)
