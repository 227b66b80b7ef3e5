"""What a failing test shows of its runs."""

from __future__ import annotations

from perdure.testing import WorkflowEnvironment
from perdure.testing.pytest_plugin import RUNS_SHOWN_MAX, timelines


async def shown(count: int) -> list[str]:
    async with await WorkflowEnvironment.start_time_skipping() as env:
        for number in range(count):
            await env.client.start_workflow("T", id=f"run-{number}", task_queue="q")
            await env.sleep(3600)
        return (await timelines(env)).split("\n\n")


async def test_no_run() -> None:
    assert await shown(0) == ["(no workflow was started)"]


async def test_all_runs_from_the_oldest() -> None:
    drawn = await shown(RUNS_SHOWN_MAX)
    assert [part.split()[1] for part in drawn] == [f"run-{n}" for n in range(RUNS_SHOWN_MAX)]
    assert "5h" in drawn[0], "as long as it has been running in test time"
    assert "1h" in drawn[-1]


async def test_the_newest_of_many() -> None:
    first, *drawn = await shown(RUNS_SHOWN_MAX + 2)
    assert first == f"(the newest {RUNS_SHOWN_MAX} of more runs)"
    assert [part.split()[1] for part in drawn] == [f"run-{n}" for n in range(2, RUNS_SHOWN_MAX + 2)]
