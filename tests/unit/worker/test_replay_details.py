"""Replays: what the workflow sees, which settings reach it, and how each end is reported."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from perdure import workflow
from perdure.client import WorkflowHistory
from perdure.common import HeaderCodecBehavior
from perdure.converter import (
    ActivitySerializationContext,
    DataConverter,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
)
from perdure.exceptions import ApplicationError
from perdure.wire.api import common, history
from perdure.wire.events import event
from perdure.worker import Replayer
from perdure.worker.host import HostOptions, WorkflowRegistry
from perdure.worker.replayer.replay_history import HistoryReplay
from perdure.workflow import NondeterminismError
from tests.unit.worker.test_task_answers import task

SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    SEEN.clear()


@workflow.defn
class Looks:
    @workflow.run
    async def run(self, text: str) -> None:
        info = workflow.info()
        SEEN.append(
            [
                text,
                info.namespace,
                info.workflow_id,
                info.run_id,
                info.task_queue,
                info.workflow_type,
            ]
        )
        SEEN.append({name: payload.data for name, payload in info.headers.items()})
        await workflow.wait_condition(lambda: False)


@workflow.defn
class Raises:
    @workflow.run
    async def run(self, text: str) -> None:
        raise LookupError(text)


@workflow.defn
class Fails:
    @workflow.run
    async def run(self, text: str) -> None:
        raise ApplicationError(text)


ALL = [Looks, Raises, Fails]


def recorded(kind: str, *, run_id: str = "run", more: Sequence[Any] = ()) -> WorkflowHistory:
    """A history whose first task is under way, and what comes after."""
    events = list(task(kind, run_id=run_id).history.events)
    started = events[0].workflow_execution_started_event_attributes
    started.header.fields["trace"].data = b"header"
    events += [event(each, event_id=index + 4) for index, each in enumerate(more)]
    return WorkflowHistory("w", events)


COMPLETED = history.WorkflowTaskCompletedEventAttributes(scheduled_event_id=2, started_event_id=3)
FAILED = [
    COMPLETED,
    history.WorkflowExecutionFailedEventAttributes(workflow_task_completed_event_id=4),
]


async def several(*histories: WorkflowHistory) -> AsyncIterator[WorkflowHistory]:
    for each in histories:
        yield each


async def test_the_workflow_sees_its_names() -> None:
    await Replayer(workflows=ALL).replay_workflow(recorded("Looks"))
    await Replayer(workflows=ALL, namespace="mine").replay_workflow(recorded("Looks"))
    names = ["w", "run", "q", "Looks"]
    assert SEEN[::2] == [["hello", "ReplayNamespace", *names], ["hello", "mine", *names]]


async def test_what_code_raises_is_the_failure_with_its_cause() -> None:
    with pytest.raises(RuntimeError, match="The workflow task fails on replay: hello") as caught:
        await Replayer(workflows=ALL).replay_workflow(recorded("Raises"))
    assert isinstance(caught.value.__cause__, LookupError)
    found = await Replayer(workflows=ALL).replay_workflow(
        recorded("Unknown"), raise_on_replay_failure=False
    )
    assert isinstance(found.replay_failure, RuntimeError)
    assert isinstance(found.replay_failure.__cause__, ApplicationError)
    assert found.history.run_id == "run"


async def test_errors_fail_the_workflow_where_that_is_said() -> None:
    replayer = Replayer(workflows=ALL, workflow_failure_exception_types=[LookupError])
    failed = recorded("Raises", more=FAILED)
    assert (await replayer.replay_workflow(failed)).replay_failure is None
    other = await Replayer(workflows=ALL).replay_workflow(failed, raise_on_replay_failure=False)
    assert isinstance(other.replay_failure, RuntimeError)


async def test_all_failures_of_several_histories_are_collected() -> None:
    good, *bad = (recorded(kind, run_id=kind) for kind in ("Looks", "Raises", "Unknown", "Fails"))
    ended = recorded("Looks", run_id="ended", more=FAILED)
    histories = [good, *bad, ended, good]
    results = await Replayer(workflows=ALL).replay_workflows(
        several(*histories), raise_on_replay_failure=False
    )
    assert set(results.replay_failures) == {"Raises", "Unknown", "ended"}
    assert isinstance(results.replay_failures["ended"], NondeterminismError)
    async with Replayer(workflows=ALL).workflow_replay_iterator(several(*histories)) as each:
        found = [result.history.run_id async for result in each]
    assert found == ["Looks", "Raises", "Unknown", "Fails", "ended", "Looks"]


def test_a_replay_by_hand_ends_once_and_tells_its_observer() -> None:
    observed: list[Any] = []
    replay = HistoryReplay(
        "w",
        recorded("Looks").events,
        WorkflowRegistry(ALL),
        HostOptions(),
        observer=lambda activation, result: observed.append((activation, result)),
    )
    steps = 0
    while replay.step():
        steps += 1
    assert steps == len(observed) > 0
    assert not replay.step()
    assert replay.failure is None
    assert not replay.wait_for_profile_matters
    replay.close()
    assert SEEN[0][1] == "ReplayNamespace"


@pytest.mark.parametrize("kind", ["Raises", "Unknown"])
def test_a_replay_that_failed_makes_no_further_step(kind: str) -> None:
    replay = HistoryReplay("w", recorded(kind).events, WorkflowRegistry(ALL), HostOptions())
    while replay.step():
        pass
    failure = replay.failure
    assert failure is not None
    assert not replay.step()
    assert replay.failure is failure
    assert not replay.wait_for_profile_matters
    replay.close()


def test_a_history_without_a_task_has_nothing_to_replay() -> None:
    replay = HistoryReplay("w", recorded("Raises").events[:2], WorkflowRegistry(ALL), HostOptions())
    while replay.step():
        pass
    replay.close()
    assert replay.failure is None or "LookupError" not in str(replay.failure)


async def test_a_history_that_makes_no_sense_says_where() -> None:
    nonsense = history.TimerFiredEventAttributes(timer_id="1", started_event_id=99)
    again = [
        history.WorkflowTaskScheduledEventAttributes(attempt=1),
        history.WorkflowTaskStartedEventAttributes(scheduled_event_id=6),
    ]
    found = await Replayer(workflows=ALL).replay_workflow(
        recorded("Looks", more=[COMPLETED, nonsense, *again]), raise_on_replay_failure=False
    )
    assert found.replay_failure is not None


OPTIONS = (
    "workflow_task_executor workflow_runner unsandboxed_workflow_runner build_id identity runtime"
    " disable_safe_workflow_eviction"
)


@pytest.mark.parametrize("option", OPTIONS.split())
async def test_options_that_need_nothing_here_are_taken(option: str) -> None:
    given: dict[str, Any] = {option: object()}
    found = await Replayer(workflows=ALL, **given).replay_workflow(recorded("Looks"))
    assert found.replay_failure is None


def test_options_that_nobody_knows_are_named() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        Replayer(workflows=ALL, shape="round", identity="me", colour="red")


@pytest.mark.parametrize("debugging", [True, False])
def test_debuggers_have_all_the_time(debugging: bool) -> None:
    replayer = Replayer(workflows=ALL, debug_mode=debugging)
    budget_ns = replayer._options.deadlock_budget_ns
    assert budget_ns == (0 if debugging else HostOptions().deadlock_budget_ns)


class Sealing(PayloadCodec, WithSerializationContext):
    """Takes off the last letter, which is the workflow's name."""

    def __init__(self, seen: list[Any], context: SerializationContext | None = None) -> None:
        self.seen = seen
        self.context = context

    def with_context(self, context: SerializationContext) -> Sealing:
        return type(self)(self.seen, context)

    async def encode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        raise NotImplementedError

    async def decode(self, payloads: Sequence[common.Payload]) -> list[common.Payload]:
        self.seen.append((self.context, [each.data for each in payloads]))
        return list(payloads)


@pytest.mark.parametrize("behavior", list(HeaderCodecBehavior))
async def test_payloads_and_headers_are_decoded_as_on_the_worker(
    behavior: HeaderCodecBehavior,
) -> None:
    decoded: list[Any] = []
    converter = dataclasses.replace(DataConverter.default, payload_codec=Sealing(decoded))
    marker = history.MarkerRecordedEventAttributes(
        marker_name="core_local_activity", workflow_task_completed_event_id=4
    )
    marker.details["data"].payloads.add(
        data=b'{"activity_id": "1", "activity_type": "act", "seq": 1}'
    )
    marker.details["result"].payloads.add(data=b"7")
    given = recorded("Looks", more=[COMPLETED, marker])
    before = [each.SerializeToString() for each in given.events]
    await Replayer(
        workflows=ALL,
        data_converter=converter,
        namespace="ns",
        header_codec_behavior=behavior,
    ).replay_workflow(given, raise_on_replay_failure=False)
    read = [data for _, each in decoded for data in each]
    headers = [b"header"] if behavior is not HeaderCodecBehavior.NO_CODEC else []
    assert sorted(read) == sorted([b'"hello"', b"7", *headers])
    contexts: Any = [context for context, _ in decoded]
    assert {context.namespace for context in contexts} == {"ns"}
    assert {context.workflow_id for context in contexts} == {"w"}
    (local,) = (each for each in contexts if isinstance(each, ActivitySerializationContext))
    assert (local.workflow_type, local.activity_task_queue, local.is_local) == ("Looks", "q", True)
    assert [each.SerializeToString() for each in given.events] == before, "the caller's own"
