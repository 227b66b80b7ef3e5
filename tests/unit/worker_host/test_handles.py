"""The handles of activities and children as tasks of the workflow's loop."""

from __future__ import annotations

import asyncio
import gc
from datetime import timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure.replay import jobs
from tests.unit.worker_host.doing import doing, done
from tests.unit.worker_host.driver import activity_cancelled, result

SECOND = timedelta(seconds=1)
RUN = "(workflow: Does, id: w, run: r)"


@pytest.mark.parametrize("start", [workflow.start_activity, workflow.start_local_activity])
def test_the_handle_of_an_activity_says_which_one_of_which_run(start: Any) -> None:
    async def main() -> str:
        return start("greet", start_to_close_timeout=SECOND).get_name()

    assert done(main) == f"activity: greet {RUN}"


def test_the_handle_of_a_child_says_which_one_of_which_run() -> None:
    async def main() -> str:
        child: asyncio.Task[Any] = await workflow.start_child_workflow("Sub", id="sub")
        return child.get_name()

    run, _ = doing(main)
    started = jobs.ResolveChildStart(seq=1, outcome=jobs.ChildStarted("r"))
    assert result(run.activate(started)) == f"child: Sub {RUN}"


def test_results_without_a_payload_are_none_whatever_the_hint_says() -> None:
    """Workers of other languages send none for a function that returns nothing."""

    async def main() -> list[Any]:
        minute = timedelta(minutes=1)
        options: Any = {"start_to_close_timeout": minute, "result_type": int}
        works: list[Any] = [
            workflow.start_activity("a", **options),
            workflow.start_local_activity("a", **options),
            await workflow.start_child_workflow("C", id="c", result_type=int),
        ]
        return [await each for each in works]

    run, _ = doing(main)
    nothing: Any = jobs.Completed(None)
    found = run.activate(
        jobs.ResolveChildStart(seq=1, outcome=jobs.ChildStarted("child-run")),
        jobs.ResolveActivity(seq=1, result=nothing),
        jobs.ResolveActivity(seq=2, result=nothing),
        jobs.ResolveChild(seq=1, result=nothing),
    )
    assert result(found) == [None, None, None]


@pytest.mark.parametrize("start", [workflow.start_activity, workflow.start_local_activity])
def test_the_outcome_of_an_activity_cancelled_before_its_first_step_is_nobodys_error(
    start: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> str:
        handle = start("greet", start_to_close_timeout=SECOND)
        handle.cancel()
        try:
            await handle
        except asyncio.CancelledError:
            del handle
            await workflow.sleep(1)
            return "cancelled"
        raise AssertionError

    run, _ = doing(main)
    run.activate(jobs.ResolveActivity(seq=1, result=jobs.Cancelled(activity_cancelled())))
    gc.collect()
    assert result(run.fire_timer(1)) == "cancelled"
    gc.collect()
    assert caplog.records == []
