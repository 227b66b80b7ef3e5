"""Options that do not exist are refused by name, before anything is scheduled."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import workflow
from tests.unit.worker_host.driver import Driver, result

CALLS: dict[str, Any] = {
    "start_child_workflow": workflow.start_child_workflow,
    "execute_child_workflow": workflow.execute_child_workflow,
}


@workflow.defn
class Asks:
    @workflow.run
    async def run(self, call: str) -> str:
        try:
            await CALLS[call]("Child", id="c", later=1)
        except TypeError as error:
            return str(error)
        return "accepted"


@pytest.mark.parametrize("call", CALLS)
def test_an_unknown_option_of_a_child_is_named(call: str) -> None:
    commands = Driver(Asks).start(call)
    assert result(commands).endswith("got an unexpected keyword argument 'later'")
    assert len(commands) == 1
