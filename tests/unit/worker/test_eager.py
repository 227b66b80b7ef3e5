"""Eager activities: asked for only by workers that run activities, and only with a slot in hand."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.client import Client
from perdure.wire.api import command as api
from perdure.wire.api import enums, taskqueue, workflowservice
from perdure.worker import Worker
from perdure.worker.polling.eager import ActivityTask, EagerActivities
from perdure.worker.polling.slots import Slots

PATIENCE_S = 30.0


@activity.defn
async def step() -> str:
    return "done"


@workflow.defn
class OneStep:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(step, start_to_close_timeout=timedelta(seconds=10))


async def test_a_worker_without_activities_leaves_them_to_others() -> None:
    async with await Client.connect("memory:") as client:
        async with Worker(client, task_queue="q", workflows=[OneStep]):
            await client.start_workflow(OneStep.run, id="w", task_queue="q")
            task: Any = await client.workflow_service.poll_activity_task_queue(
                workflowservice.PollActivityTaskQueueRequest(
                    namespace="default", task_queue=taskqueue.TaskQueue(name="q"), identity="me"
                )
            )
        assert (task.activity_type.name, task.attempt) == ("step", 1)


async def test_parked_polls_may_hold_every_slot() -> None:
    # Regression: the activity was started eagerly and then waited for a slot that polls held, for as long as they do.
    async with (
        await Client.connect("memory:") as client,
        Worker(
            client,
            task_queue="q",
            workflows=[OneStep],
            activities=[step],
            max_concurrent_workflow_tasks=10,
            max_concurrent_activities=2,
            max_concurrent_activity_task_polls=2,
        ),
        asyncio.timeout(PATIENCE_S),
    ):
        results = await asyncio.gather(
            *(
                client.execute_workflow(OneStep.run, id=f"w-{number}", task_queue="q")
                for number in range(20)
            )
        )
    assert results == ["done"] * 20


def schedule(queue: str = "q", *, eagerly: bool = True) -> api.Command:
    command = api.Command(command_type=enums.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)
    asked = command.schedule_activity_task_command_attributes
    asked.task_queue.name = queue
    asked.request_eager_execution = eagerly
    return command


def wishes(commands: list[api.Command]) -> list[bool]:
    return [
        each.schedule_activity_task_command_attributes.request_eager_execution for each in commands
    ]


class Eager(EagerActivities):
    """Over two slots of queue "q"; the activities run until `finish`."""

    def __init__(self, slots: int, **options: int) -> None:
        self.slots = Slots(slots)
        self.running: list[asyncio.Task[None]] = []
        self.handled: list[str] = []
        self.finish = asyncio.Event()
        super().__init__(self.slots, self.run_one, self.spawn, task_queue="q", **options)

    async def run_one(self, task: ActivityTask) -> None:
        self.handled.append(task.activity_id)
        await self.finish.wait()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self.running.append(asyncio.ensure_future(work))


async def test_the_wish_goes_where_there_is_no_slot() -> None:
    eager = Eager(slots=2)
    commands = [schedule(eagerly=False), schedule("other"), schedule(), schedule(), schedule()]
    assert eager.reserve(commands) == 2
    assert wishes(commands) == [False, False, True, True, False]
    assert eager.slots.used == 2


async def test_no_more_than_three_at_once_and_none_at_the_end() -> None:
    eager = Eager(slots=10)
    assert eager.reserve([schedule() for _ in range(5)]) == 3
    ending = [schedule()]
    assert eager.reserve(ending, is_ending=True) == 0
    assert wishes(ending) == [False]


async def test_where_no_other_worker_is_all_start_that_have_a_slot() -> None:
    eager = Eager(slots=10, per_completion_max=10)
    assert eager.reserve([schedule() for _ in range(12)]) == 10


async def test_slots_that_no_task_came_for_are_given_back() -> None:
    eager = Eager(slots=3)
    reserved = eager.reserve([schedule(), schedule()])
    eager.start(reserved, [ActivityTask(activity_id="1")])
    assert eager.slots.used == 1
    await asyncio.sleep(0)
    assert eager.handled == ["1"]
    eager.finish.set()
    await asyncio.gather(*eager.running)
    assert eager.slots.used == 0


async def test_a_completion_that_failed_gives_all_back() -> None:
    eager = Eager(slots=1)
    eager.start(eager.reserve([schedule()]))
    assert eager.slots.used == 0


async def test_what_nobody_asked_for_is_not_run() -> None:
    eager = Eager(slots=1)
    eager.start(0, [ActivityTask(activity_id="1")])
    assert (eager.slots.used, eager.running) == (0, [])


async def eager_start_accepted(client: Client, workflow_id: str) -> bool:
    handle = await client.start_workflow(
        OneStep.run, id=workflow_id, task_queue="q", request_eager_start=True
    )
    assert await handle.result() == "done"
    started = (await handle.fetch_history()).events[0]
    return started.workflow_execution_started_event_attributes.eager_execution_accepted


async def test_an_eager_start_goes_to_the_worker_of_this_process() -> None:
    async with (
        await Client.connect("memory:") as client,
        Worker(client, task_queue="q", workflows=[OneStep], activities=[step]),
        asyncio.timeout(PATIENCE_S),
    ):
        await client.execute_workflow(
            OneStep.run, id="first", task_queue="q"
        )  # the worker is at work
        assert await eager_start_accepted(client, "w")


async def test_nobody_asks_for_a_first_task_that_no_slot_is_free_for() -> None:
    # Regression: the client asked and threw the task away, which the workflow then waited for until its time-out.
    async with (
        await Client.connect("memory:") as client,
        asyncio.timeout(PATIENCE_S),
    ):
        await client.start_workflow(
            OneStep.run, id="early", task_queue="q", request_eager_start=True
        )
        async with Worker(
            client,
            task_queue="q",
            workflows=[OneStep],
            activities=[step],
            max_concurrent_workflow_tasks=2,
            max_concurrent_workflow_task_polls=2,
        ):
            assert await client.get_workflow_handle("early").result() == "done"
            assert not await eager_start_accepted(client, "late")
