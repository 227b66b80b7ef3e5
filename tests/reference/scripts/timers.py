"""Timers: fired, canceled, canceled when already fired."""

from __future__ import annotations

from tests.reference.commands import cancel_timer, complete_workflow, start_timer
from tests.reference.play import Case, script


@script
async def fired(case: Case) -> None:
    await case.start()
    await case.step(start_timer("soon", 0.2), start_timer("late"))
    await case.happened("TIMER_FIRED")
    await case.step(complete_workflow())
    await case.closed()


@script
async def canceled(case: Case) -> None:
    await case.start()
    await case.step(start_timer("t"), start_timer("u"))
    await case.signal()
    await case.step(cancel_timer("t"))
    await case.signal()
    await case.step(start_timer("t"), cancel_timer("u"), complete_workflow())
    await case.closed()


@script
async def started_and_canceled_at_once(case: Case) -> None:
    await case.start()
    await case.step(start_timer("t"), cancel_timer("t"), start_timer("t"))
    await case.happened("TIMER_CANCELED")


@script
async def an_id_is_used_again(case: Case) -> None:
    await case.start()
    await case.step(start_timer("t", 0.2))
    await case.step(start_timer("t", 0.2))
    await case.step(complete_workflow())
    await case.closed()


@script
async def canceled_when_already_fired(case: Case) -> None:
    """The timer fires during a workflow task that cancels it: the buffered event is removed."""
    await case.start("witness", task_queue=case.queue_named("witness"))
    witness = await case.poll(case.queue_named("witness"))
    await case.start()
    await case.step(start_timer("t", 0.5))
    await case.signal()
    task = await case.poll()
    # A timer that is due more than a second later has fired, so the first one has fired too.
    await case.complete(witness, start_timer("later", 2))
    await case.poll(case.queue_named("witness"))
    await case.complete(task, cancel_timer("t"), complete_workflow())
    await case.closed()


@script
async def none_after_the_close(case: Case) -> None:
    await case.start()
    await case.step(start_timer("t", 0.2), complete_workflow())
    await case.closed()
