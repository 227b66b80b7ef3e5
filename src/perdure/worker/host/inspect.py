"""The state of a run for people: the stacks of its tasks, and its handlers.

Role: the built-in queries. A suspended coroutine knows what it awaits (`cr_await`), so the whole chain of a
task can be walked; `Task.get_stack` shows only its outermost frame.

Not here: registering the queries (`host`).
"""

from __future__ import annotations

import asyncio
import inspect
import linecache
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

import perdure
from perdure.wire.api import sdk
from perdure.worker.host import callsite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from perdure.worker.host.state import RunState

_SLICE_LINES = 20


class Suspended(NamedTuple):
    """One frame of a suspended task."""

    location: callsite.Location
    is_user: bool
    is_vocabulary: bool


def _links(awaitable: Any) -> Iterator[FrameType]:
    """Frames of a suspended coroutine, outermost first."""
    while awaitable is not None:
        if inspect.iscoroutine(awaitable):
            frame, inner = awaitable.cr_frame, awaitable.cr_await
        elif inspect.isgenerator(awaitable):
            frame, inner = awaitable.gi_frame, awaitable.gi_yieldfrom
        else:
            return  # such as the `asend` of an async generator, which does not expose what it runs
        if frame is not None:
            yield frame
        awaitable = inner


def suspended_frames(task: asyncio.Task[Any]) -> list[Suspended]:
    """The frames of a suspended task, outermost first."""
    found: list[Suspended] = []
    for frame in _links(task.get_coro()):
        location = callsite.locate(frame.f_code, frame.f_lasti)
        internal = callsite.is_library_file(location.filename)
        vocabulary = internal and str(frame.f_globals.get("__name__")).startswith(
            "perdure.workflow"
        )
        found.append(Suspended(location, not internal, vocabulary))
    return found


def _user_tasks(state: RunState) -> Iterator[tuple[asyncio.Task[Any], list[Suspended]]]:
    for task in state.loop.tasks:
        if task is asyncio.current_task(state.loop):
            continue
        frames = suspended_frames(task)
        if any(frame.is_user for frame in frames):
            yield task, frames


def stack_trace(state: RunState) -> str:
    """Stacks of all tasks in user code, as text: the answer to `__stack_trace`."""
    stacks: list[str] = []
    for task, frames in _user_tasks(state):
        summaries = [
            traceback.FrameSummary(
                frame.location.filename, frame.location.line, frame.location.function
            )
            for frame in frames
            if frame.is_user or frame.is_vocabulary
        ]
        text = "".join(traceback.format_list(summaries))
        stacks.append(f"Stack for {task.get_name()} (most recent call last):\n{text}")
    return "\n".join(stacks)


def enhanced_stack_trace(state: RunState) -> sdk.EnhancedStackTrace:
    """The same with sources: the answer to `__enhanced_stack_trace`.

    Only the lines around each frame are sent, not whole files.
    """
    lines: dict[str, set[int]] = {}
    stacks: list[sdk.StackTrace] = []
    for _task, frames in _user_tasks(state):
        stack = sdk.StackTrace()
        for frame in frames:
            stack.locations.append(
                sdk.StackTraceFileLocation(
                    file_path=frame.location.filename,
                    line=frame.location.line,
                    column=frame.location.column or -1,
                    function_name=frame.location.function,
                    internal_code=callsite.is_internal_file(frame.location.filename),
                )
            )
            if frame.is_user:
                lines.setdefault(frame.location.filename, set()).add(frame.location.line)
        stacks.append(stack)
    trace = sdk.EnhancedStackTrace(
        sdk=sdk.StackTraceSDKInfo(name="perdure-python", version=perdure.__version__),
        stacks=stacks,
    )
    for filename, numbers in lines.items():
        trace.sources[filename].CopyFrom(_slice(filename, numbers))
    return trace


def _slice(filename: str, numbers: set[int]) -> sdk.StackTraceFileSlice:
    source = linecache.getlines(filename)
    first = max(1, min(numbers) - _SLICE_LINES)
    last = min(len(source), max(numbers) + _SLICE_LINES)
    return sdk.StackTraceFileSlice(line_offset=first - 1, content="".join(source[first - 1 : last]))


def workflow_metadata(state: RunState) -> sdk.WorkflowMetadata:
    """Handlers and details: the answer to `__temporal_workflow_metadata`."""

    def listed(handlers: Any) -> list[sdk.WorkflowInteractionDefinition]:
        made = [
            sdk.WorkflowInteractionDefinition(name=handler.name, description=handler.description)
            for handler in handlers.values()
        ]
        return sorted(made, key=lambda definition: definition.name)

    return sdk.WorkflowMetadata(
        definition=sdk.WorkflowDefinition(
            type=state.run.workflow_type,
            query_definitions=listed(state.queries),
            signal_definitions=listed(state.signals),
            update_definitions=listed(state.updates),
        ),
        current_details=state.current_details,
    )
