"""The recorded histories as tests read them. Imported under ours only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from perdure.client.history import WorkflowHistory

DATA = Path(__file__).parent / "data"
OFFICIAL = "reference-server-official-worker"
REFUSED = "differs_on_replay"
"""The history that its own workflow, which is not deterministic, cannot replay."""


def paths() -> list[Path]:
    return sorted(DATA.glob("*/*.json"))


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def load(scenario: str, folder: str = OFFICIAL) -> WorkflowHistory:
    """One history; those of the official worker on the reference server unless another folder is named."""
    return read(DATA / folder / f"{scenario}.json")


def read(path: Path) -> WorkflowHistory:
    return _history(json.loads(path.read_text()))


def without_flags(scenario: str, key: str) -> WorkflowHistory:
    """The history as an SDK that does not know the flags under `key` would have written it."""
    document: dict[str, Any] = json.loads(load(scenario).to_json())
    for event in document["events"]:
        attributes = event.get("workflowTaskCompletedEventAttributes", {})
        attributes.get("sdkMetadata", {}).pop(key, None)
    return _history(document)


def _history(document: dict[str, Any]) -> WorkflowHistory:
    """Under the id that it was recorded with: ids of children are made of it."""
    started = document["events"][0]["workflowExecutionStartedEventAttributes"]
    return WorkflowHistory.from_json(started["workflowId"], document)
