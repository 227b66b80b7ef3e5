"""Activities that begin again with their first attempt: waiting, backing off, running, paused."""

from __future__ import annotations

from typing import Any

from tests.reference.commands import (
    application_failure,
    cancel_activity,
    complete_workflow,
    no_retry,
    payloads,
    retry,
)
from tests.reference.play import Case, script
from tests.reference.scripts.pauses import HOUR_S, pause, scheduled


async def reset(case: Case, **fields: Any) -> Any:
    fields.setdefault("execution", case.execution())
    return await case.call("ResetActivity", **fields)


@script
async def while_it_waits(case: Case) -> None:
    await scheduled(case)
    await reset(case, id="a")
    await case.describe()
    await case.complete_activity(await case.poll_activity(), result=payloads("out"))
    await case.step(complete_workflow())
    await case.closed()


@script
async def while_it_backs_off(case: Case) -> None:
    await scheduled(case, retry_policy=retry(5, HOUR_S, HOUR_S))
    task = await case.poll_activity()
    await case.heartbeat(task, details=payloads("half"))
    await case.fail_activity(task, failure=application_failure("no"))
    await reset(case, id="a")
    await case.describe()
    task = await case.poll_activity()
    await case.fail_activity(task, failure=application_failure("no"))
    await reset(case, id="a", reset_heartbeat=True)
    await case.describe()
    task = await case.poll_activity()
    await case.describe()
    await case.complete_activity(task)
    await case.step(complete_workflow())
    await case.closed()


@script
async def while_it_runs(case: Case) -> None:
    await scheduled(case, retry_policy=retry(5, 0.1, 0.1))
    await case.fail_activity(await case.poll_activity(), failure=application_failure("no"))
    task = await case.poll_activity()
    await case.heartbeat(task, details=payloads("half"))
    await reset(case, id="a")
    await case.describe()
    await case.heartbeat(task, details=payloads("more"))
    await case.fail_activity(task, failure=application_failure("again"))


@script
async def while_it_runs_with_its_heartbeat(case: Case) -> None:
    await scheduled(case, retry_policy=retry(5, 0.1, 0.1))
    task = await case.poll_activity()
    await case.heartbeat(task, details=payloads("half"))
    await reset(case, id="a", reset_heartbeat=True)
    await case.describe()
    await case.heartbeat(task, details=payloads("more"))
    await case.describe()
    await case.fail_activity(task, failure=application_failure("again"))
    task = await case.poll_activity()
    await case.complete_activity(task)


@script
async def that_completes_after_it(case: Case) -> None:
    await scheduled(case, retry_policy=retry(5, 0.1, 0.1))
    await case.fail_activity(await case.poll_activity(), failure=application_failure("no"))
    task = await case.poll_activity()
    await reset(case, id="a")
    await case.complete_activity(task)


@script
async def of_the_last_attempt(case: Case) -> None:
    await scheduled(case, retry_policy=no_retry())
    task = await case.poll_activity()
    await reset(case, id="a")
    await case.fail_activity(task, failure=application_failure("no"))
    await case.step(complete_workflow())
    await case.closed()


@script
async def that_then_fails_for_good(case: Case) -> None:
    await scheduled(case, retry_policy=retry())
    task = await case.poll_activity()
    await reset(case, id="a")
    await case.fail_activity(task, failure=application_failure("no", non_retryable=True))
    await case.describe()


@script
async def while_it_is_paused(case: Case) -> None:
    await scheduled(case, retry_policy=retry(5, HOUR_S, HOUR_S))
    await case.fail_activity(await case.poll_activity(), failure=application_failure("no"))
    await pause(case, id="a")
    await reset(case, id="a", keep_paused=True)
    await case.describe()
    await reset(case, id="a")
    await case.describe()
    await case.complete_activity(await case.poll_activity())


@script
async def while_it_runs_paused(case: Case) -> None:
    await scheduled(case, retry_policy=retry(5, 0.1, 0.1))
    await case.fail_activity(await case.poll_activity(), failure=application_failure("no"))
    task = await case.poll_activity()
    await pause(case, id="a")
    await reset(case, id="a", keep_paused=True)
    await case.describe()
    await case.heartbeat(task)
    await reset(case, id="a")
    await case.describe()
    await case.heartbeat(task)
    await case.fail_activity(task, failure=application_failure("no"))


@script
async def that_was_canceled(case: Case) -> None:
    await scheduled(case, retry_policy=retry(5, 0.1, 0.1))
    task = await case.poll_activity()
    await case.signal()
    await case.step(cancel_activity(5))
    await reset(case, id="a")
    await case.describe()
    await case.heartbeat(task)
    await case.fail_activity(task, failure=application_failure("no"))
    await case.describe()


@script
async def that_is_not_there(case: Case) -> None:
    await reset(case, id="a")
    await scheduled(case)
    await reset(case, id="b")
    await reset(case, type="Other")
    await reset(case)
    await reset(case, type="Activity")
    await reset(case, match_all=True)
    later: dict[str, Any] = {"workflow_id": case.id(), "activity_id": "a"}
    await case.call("ResetActivityExecution", **later)
    await case.call("ResetActivityExecution", workflow_id=case.id())
    await case.terminate()
    await reset(case, id="a")
