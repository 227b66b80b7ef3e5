"""Reading: pages of histories, long polls, close events, lists, counts, queues, the server itself."""

from __future__ import annotations

import asyncio
from typing import Any

from perdure.wire.api import enums, workflowservice
from tests.reference.commands import (
    attributes,
    complete_workflow,
    fail_workflow,
    fields,
    make,
    payload,
    payloads,
    start_timer,
)
from tests.reference.play import Case, script

CLOSE = enums.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT


@script
async def pages_of_a_history(case: Case) -> None:
    await case.start()
    await case.step(start_timer("a"), start_timer("b"), start_timer("c"))
    await case.signal()
    await case.step(complete_workflow())
    await pages(case, 1)
    await pages(case, 4)
    page = await case.ask(
        "GetWorkflowExecutionHistory", execution=case.execution(), maximum_page_size=1
    )
    other = await case.start("other")
    await case.history("other", run_id=other.run_id, next_page_token=page.next_page_token)


async def pages(case: Case, size: int) -> None:
    """Record all pages of a history as one, because the size of a page is not promised."""
    answer = workflowservice.GetWorkflowExecutionHistoryResponse()
    while True:
        page = await case.ask(
            "GetWorkflowExecutionHistory",
            execution=case.execution(),
            maximum_page_size=size,
            next_page_token=answer.next_page_token,
        )
        answer.history.events.extend(page.history.events)
        answer.next_page_token = page.next_page_token
        if not answer.next_page_token:
            break
    case.note("GetWorkflowExecutionHistory", answer)


@script
async def close_events(case: Case) -> None:
    await case.start()
    await case.history(history_event_filter_type=CLOSE)
    await case.step(complete_workflow())
    await case.history(history_event_filter_type=CLOSE)
    await case.history(history_event_filter_type=CLOSE, wait_new_event=True)


@script
async def waiting_for_the_close(case: Case) -> None:
    await case.start()
    pending = case.begin(
        "GetWorkflowExecutionHistory",
        execution=case.execution(),
        history_event_filter_type=CLOSE,
        wait_new_event=True,
    )
    await case.step(complete_workflow())
    await pending.end()


@script
async def waiting_for_news(case: Case) -> None:
    await case.start()
    page = await case.history(wait_new_event=True)
    for _ in range(2):
        pending = case.begin(
            "GetWorkflowExecutionHistory",
            execution=case.execution(),
            wait_new_event=True,
            next_page_token=page.next_page_token,
        )
        await asyncio.sleep(
            0.5
        )  # the call is probably waiting now; its answer is the same if it is not
        await case.signal()
        page = await pending.end()
    await case.terminate()
    await case.history(wait_new_event=True, next_page_token=page.next_page_token)


@script
async def the_rest_of_a_long_history(case: Case) -> None:
    """A worker that reads more pages of its task gets no events after the start of the task."""
    await case.start()
    await case.step(*(make("RECORD_MARKER", marker_name=f"m-{n}") for n in range(300)))
    await case.signal()
    task = await case.ask("PollWorkflowTaskQueue", task_queue=case.queue)
    await case.fail(task)
    await case.signal("after the task")
    answer = workflowservice.GetWorkflowExecutionHistoryResponse()
    answer.history.events.extend(task.history.events)
    token = task.next_page_token
    while token:
        page = await case.ask(
            "GetWorkflowExecutionHistory", execution=case.execution(), next_page_token=token
        )
        answer.history.events.extend(page.history.events)
        token = page.next_page_token
    del answer.history.events[4:-6]
    case.note("GetWorkflowExecutionHistory", answer)
    await case.terminate(reason="enough")


@script
async def waiting_in_vain(case: Case) -> None:
    await case.start()
    page = await case.history(wait_new_event=True)
    await case.history(wait_new_event=True, next_page_token=page.next_page_token)


@script
async def in_reverse(case: Case) -> None:
    await case.start()
    await case.step(complete_workflow())
    read = "GetWorkflowExecutionHistoryReverse"
    await case.call(read, execution=case.execution())
    await case.call(read, label="of nobody", execution=case.execution("nobody"))
    await case.start("running")
    await case.poll()
    await case.call(read, label="running", execution=case.execution("running"))


async def three_runs(case: Case) -> None:
    """Start a running, a completed and a failed workflow, and wait until lists show them."""
    await case.start("running", workflow_type={"name": case.id("Type")}, memo=fields(note="n"))
    await case.poll()
    for name, command in (("completed", complete_workflow()), ("failed", fail_workflow())):
        await case.start(name, workflow_type={"name": case.id("Type")})
        await case.step(command)
        await case.closed(name)
    await listed(case, f"WorkflowType = '{case.id('Type')}'", 3)
    await listed(
        case,
        f"WorkflowType = '{case.id('Type')}' AND ExecutionStatus IN ('Completed', 'Failed')",
        2,
    )


async def listed(case: Case, query: str, count: int, **more: Any) -> Any:
    """Wait until a list has a number of entries, and record it."""
    return await case.until(
        lambda answer: len(answer.executions) == count,
        "ListWorkflowExecutions",
        query=query,
        **more,
    )


@script
async def lists(case: Case) -> None:
    await three_runs(case)
    kind = f"WorkflowType = '{case.id('Type')}'"
    ids = [case.id(name) for name in ("running", "completed", "failed")]
    for query in (
        f"{kind} AND ExecutionStatus = 'Running'",
        f"{kind} AND ExecutionStatus IN ('Completed', 'Failed')",
        f"WorkflowId = '{ids[0]}'",
        f"WorkflowId IN ('{ids[0]}', '{ids[1]}')",
        f"{kind} AND CloseTime IS NULL",
        f"{kind} AND CloseTime IS NOT NULL",
        f"{kind} AND StartTime > '2020-01-01T00:00:00Z'",
        f"{kind} AND StartTime < '2020-01-01T00:00:00Z'",
        f"{kind} AND StartTime BETWEEN '2020-01-01T00:00:00Z' AND '2120-01-01T00:00:00Z'",
        f"WorkflowId STARTS_WITH '{case.name}' AND ExecutionStatus = 'Failed'",
        f"{kind} AND (ExecutionStatus = 'Failed' OR ExecutionStatus = 'Running')",
        f"{kind} AND NOT ExecutionStatus = 'Failed'",
        f"TaskQueue = '{case.queue['name']}'",
        f"{kind} AND HistoryLength > 100",
        "WorkflowId = 'nothing'",
    ):
        label = query.replace(case.name, "")
        await case.call("ListWorkflowExecutions", label=label, query=query)
        await case.call("CountWorkflowExecutions", label=label, query=query)


@script
async def counts_by_group(case: Case) -> None:
    await three_runs(case)
    query = f"WorkflowType = '{case.id('Type')}' GROUP BY ExecutionStatus"
    await case.call("CountWorkflowExecutions", query=query)


@script
async def pages_of_a_list(case: Case) -> None:
    await three_runs(case)
    query, token = f"WorkflowType = '{case.id('Type')}'", b""
    for _ in range(4):
        page = await case.call(
            "ListWorkflowExecutions", query=query, page_size=2, next_page_token=token
        )
        token = page.next_page_token
        if not token:
            break


@script
async def attributes_in_lists(case: Case) -> None:
    keyword = case.id("keyword")
    await case.start(search_attributes=attributes(CustomKeyword=f'"{keyword}"', CustomInt="7"))
    await case.step(
        make(
            "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES",
            search_attributes=attributes(CustomInt="8", CustomBool="true"),
        )
    )
    await listed(case, f"CustomKeyword = '{keyword}' AND CustomInt = 8", 1)
    for condition in ("CustomInt = 7", "CustomInt > 7 AND CustomBool = true"):
        query = f"CustomKeyword = '{keyword}' AND {condition}"
        await case.call("ListWorkflowExecutions", label=condition, query=query)


@script
async def attributes_and_memo_change(case: Case) -> None:
    await case.start(search_attributes=attributes(CustomInt="1"), memo=fields(kept="k", gone="g"))
    removed = payload("")
    removed.CopyFrom(type(removed)(metadata={"encoding": b"binary/null"}))
    await case.step(
        make(
            "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES",
            search_attributes=attributes(CustomInt="2", CustomKeyword='"k"'),
        ),
        make(
            "MODIFY_WORKFLOW_PROPERTIES",
            upserted_memo={"fields": {"new": payload("n"), "gone": removed}},
        ),
    )
    await case.history()
    await case.describe()
    await case.signal()
    await case.step(
        make(
            "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES",
            search_attributes={"indexed_fields": {"CustomInt": removed}},
        )
    )
    await case.describe()


@script
async def markers(case: Case) -> None:
    await case.start()
    await case.step(
        make(
            "RECORD_MARKER",
            marker_name="marker",
            details={"data": payloads("d")},
            header=fields(trace="t"),
        ),
        make("RECORD_MARKER", marker_name="marker"),
        complete_workflow(),
    )
    await case.closed()


@script
async def task_queues(case: Case) -> None:
    await case.call("DescribeTaskQueue", label="unused", task_queue=case.queue)
    await case.start()
    await case.poll(identity="a worker")
    kind = enums.TASK_QUEUE_TYPE_WORKFLOW
    await case.until(
        lambda answer: len(answer.pollers) == 1,
        "DescribeTaskQueue",
        task_queue=case.queue,
        task_queue_type=kind,
    )
    await case.call(
        "DescribeTaskQueue", task_queue=case.queue, task_queue_type=enums.TASK_QUEUE_TYPE_ACTIVITY
    )


@script
async def the_server(case: Case) -> None:
    await case.call("GetSystemInfo")
    await case.call("GetClusterInfo")
    await case.call("DescribeNamespace")
    await case.call("DescribeNamespace", namespace="second")
    await case.call("ListSearchAttributes")


@script
async def a_namespace_of_its_own(case: Case) -> None:
    name = case.name
    await case.call(
        "RegisterNamespace",
        namespace=name,
        description="why",
        owner_email="me@example.com",
        data={"key": "value"},
        workflow_execution_retention_period={"seconds": 3 * 86400},
    )
    await case.until(lambda answer: True, "DescribeNamespace", namespace=name)


@script
async def runs_by_their_ids(case: Case) -> None:
    first = await case.start()
    await case.step(complete_workflow("first"))
    second = await case.start()
    for run in (first, second):
        await case.describe(run_id=run.run_id)
        await case.history(run_id=run.run_id)
    await case.history()
