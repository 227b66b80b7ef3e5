"""Every way in which a workflow ends tells of handlers that it cuts off."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from perdure import workflow
from perdure.exceptions import ApplicationError
from perdure.workflow import UnfinishedSignalHandlersWarning
from tests.unit.worker_host.doing import doing, forever
from tests.unit.worker_host.driver import Driver, names

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.replay import commands


async def ends_well() -> None:
    await workflow.sleep(1)


async def ends_badly() -> None:
    await workflow.sleep(1)
    raise ApplicationError("no")


async def goes_on() -> None:
    await workflow.sleep(1)
    workflow.continue_as_new()


def fire(run: Driver) -> list[commands.Command]:
    return run.fire_timer(1)


def cancel(run: Driver) -> list[commands.Command]:
    return run.cancel()


ENDS: dict[str, tuple[Callable[[], Any], Callable[[Driver], list[commands.Command]]]] = {
    "CompleteWorkflow": (ends_well, fire),
    "FailWorkflow": (ends_badly, fire),
    "CancelWorkflowExecution": (ends_well, cancel),
    "ContinueAsNew": (goes_on, fire),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_handler_that_is_cut_off_is_warned_about(how: str) -> None:
    main, end = ENDS[how]
    run, _ = doing(main, forever)
    assert run.signal("hear") == []
    with pytest.warns(UnfinishedSignalHandlersWarning, match='"hear", "count": 1'):
        assert names(end(run))[-1] == how


@pytest.mark.parametrize("how", ENDS)
def test_a_handler_that_has_ended_is_not_warned_about(how: str) -> None:
    main, end = ENDS[how]
    run, _ = doing(main, lambda: asyncio.sleep(0))
    run.signal("hear")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert names(end(run))[-1] == how
