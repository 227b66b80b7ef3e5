"""The handles of activities and children as tasks of the workflow's loop."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure.replay import jobs
from tests.unit.worker_host.doing import doing, done
from tests.unit.worker_host.driver import result

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
