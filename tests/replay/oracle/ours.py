"""Replaying a history on our engine with the scripted workflow, and talking to the oracle."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from perdure.replay.commands import ActivationResult
from perdure.replay.engine import WorkflowReplay
from perdure.replay.jobs import Activation
from perdure.replay.mismatch import Mismatch
from perdure.replay.task import EngineConfig, NeedPage, RunInfo, WorkflowTask
from perdure.wire.api import history
from tests.replay.oracle import normal
from tests.replay.oracle.script import Planned, Scripted, Variant

ROOT = Path(__file__).parents[3]


class Result(msgspec.Struct, frozen=True):
    """What a replay showed: activations in plain form, and how it ended."""

    activations: list[dict[str, Any]]
    verdict: str
    message: str


class Case(msgspec.Struct, frozen=True):
    """One comparison."""

    seed: int
    events: Sequence[history.HistoryEvent]
    variant: Variant = Variant.SAME
    at: int = 3
    plan: dict[str, list[list[Any]]] | None = None
    """Commands to issue instead of the random script's."""


def engine_for(events: Sequence[history.HistoryEvent]) -> WorkflowReplay:
    started = events[0].workflow_execution_started_event_attributes
    info = RunInfo(
        "default", "wf", started.original_execution_run_id, started.workflow_type.name, "queue"
    )
    return WorkflowReplay(info, EngineConfig(sdk_version="1"))


def step(script: Scripted | Planned, activation: Activation) -> ActivationResult:
    jobs = [normal.job(item) for item in activation.jobs]
    replaying = activation.is_replaying
    if isinstance(script, Planned):
        commands = script.activate(
            jobs, replaying=replaying, history_length=activation.history_length
        )
    else:
        commands = script.activate(jobs, replaying=replaying)
    return ActivationResult(commands=[normal.command(item) for item in commands])


def script_of(case: Case) -> Scripted | Planned:
    if case.plan is not None:
        return Planned(case.plan, case.variant)
    return Scripted(case.seed, case.variant, case.at)


def replay(case: Case, page_size: int = 0) -> Result:
    """Replay on our engine, the whole history at once or in pages."""
    engine = engine_for(case.events)
    script = script_of(case)
    task = WorkflowTask.from_history(case.events)
    position = len(case.events)
    if page_size:
        position = page_size
        more = b"more" if position < len(case.events) else b""
        task = msgspec.structs.replace(task, events=case.events[:position], next_page_token=more)

    def pages(need: NeedPage | None) -> None:
        nonlocal position
        while need is not None:
            page = case.events[position : position + page_size]
            position += page_size
            need = engine.feed_page(page, b"more" if position < len(case.events) else b"")

    seen: list[dict[str, Any]] = []
    pages(engine.feed(task))
    while (activation := engine.next()) is not None:
        seen.append(json.loads(json.dumps(normal.activation(activation))))
        pages(engine.commit(step(script, activation)))
    if engine.error is None:
        return Result(seen, "ok", "")
    if isinstance(engine.error, Mismatch):
        return Result(seen, "nondeterminism", engine.error.rule.value)
    return Result(seen, "fatal", engine.error.message)


class Oracle:
    """The official core, in its own process."""

    def __init__(self) -> None:
        environment = dict(os.environ, PYTHONPATH=str(ROOT), RUST_BACKTRACE="0")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.replay.oracle.core_process"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def replay(self, case: Case) -> Result:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._count += 1
        message = history.History(events=case.events).SerializeToString()
        request = {
            "id": "wf",
            "history": base64.b64encode(message).decode(),
            "seed": case.seed,
            "variant": case.variant.value,
            "at": case.at,
            "plan": case.plan,
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the oracle process ended with {self._process.wait()}")
        return msgspec.convert(json.loads(answer), Result)
