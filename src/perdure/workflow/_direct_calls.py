"""`await my_activity(x)` inside a workflow, for activities that carry options on their decorator.

Role: the hook that `perdure.activity` asks before it calls such a function. Installed on import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.activity.definition import Definition, set_schedule_hook
from perdure.workflow import _runtime
from perdure.workflow._options import ActivityCancellationType, ActivityOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence


def schedule(definition: Definition, args: Sequence[Any], /) -> Awaitable[Any] | None:
    """Schedule the activity when the calling code is a workflow; None for a plain call elsewhere."""
    runtime = _runtime.maybe_current()
    if runtime is None or definition.name is None:
        return None
    given = definition.options.given() if definition.options is not None else {}
    if "cancellation_type" in given:
        given["cancellation_type"] = ActivityCancellationType(given["cancellation_type"])
    options = ActivityOptions(result_type=definition.ret_type, **given)
    return runtime.start_activity(definition.name, args, options)


def install() -> None:
    """Make `perdure.activity` ask `schedule`."""
    set_schedule_hook(schedule)
