"""Namespaces, search attributes, lists, and what happens to calls that cannot be answered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.core.units import SECOND_NS
from perdure.server.frontend.rpcs import RPCS
from perdure.wire.api import common, enums, errordetails, workflowservice
from perdure.wire.errors import (
    AlreadyExists,
    Internal,
    InvalidArgument,
    NotFound,
    RpcError,
    Unavailable,
    Unimplemented,
)
from perdure.wire.seam import OPERATOR_SERVICE, WORKFLOW_SERVICE, Waits
from tests.harness.builders import complete_workflow
from tests.unit.frontend.conftest import Caller


async def test_namespaces_are_registered_described_and_listed_in_pages(caller: Caller):
    retention = {"seconds": 3_600}
    for name in ("b", "a"):
        await caller.call(
            "RegisterNamespace", namespace=name, workflow_execution_retention_period=retention
        )
    with pytest.raises(AlreadyExists):
        await caller.call("RegisterNamespace", namespace="a")
    described = await caller.call("DescribeNamespace", namespace="a")
    assert described.config.workflow_execution_retention_ttl.seconds == 3_600
    assert described.namespace_info.state == enums.NAMESPACE_STATE_REGISTERED
    assert described.namespace_info.limits.blob_size_limit_error == 2 * 1024 * 1024
    same = await caller.call("DescribeNamespace", namespace="", id=described.namespace_info.id)
    assert same.namespace_info.name == "a"
    first = await caller.call("ListNamespaces", page_size=2)
    second = await caller.call("ListNamespaces", next_page_token=first.next_page_token)
    names = [n.namespace_info.name for page in (first, second) for n in page.namespaces]
    assert names == ["a", "b", "default"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"is_global_namespace": True}, "Cannot register global namespace when not enabled"),
        ({"active_cluster_name": "other"}, "Invalid cluster name: other"),
        (
            {"clusters": [{"cluster_name": "active"}, {"cluster_name": "b"}]},
            "Invalid cluster name: b",
        ),
    ],
)
async def test_a_namespace_of_other_clusters_is_refused(
    caller: Caller, changes: dict[str, Any], message: str
):
    name = (await caller.call("GetClusterInfo")).cluster_name
    own = [{"cluster_name": name}]
    await caller.call("RegisterNamespace", namespace="own", active_cluster_name=name, clusters=own)
    with pytest.raises(InvalidArgument, match=message):
        await caller.call("RegisterNamespace", namespace="n", **changes)


async def test_a_page_of_large_namespaces_fits_into_a_message(caller: Caller):
    for number in range(4):
        await caller.call(
            "RegisterNamespace",
            namespace=f"n{number}",
            data={f"{n}": "v" * 900 for n in range(900)},
        )
    pages: list[list[str]] = []
    token = b""
    while not pages or token:
        answer = await caller.call("ListNamespaces", next_page_token=token)
        assert answer.ByteSize() < 4 * 1024 * 1024
        pages.append([n.namespace_info.name for n in answer.namespaces])
        token = answer.next_page_token
    assert pages == [["default", "n0", "n1"], ["n2", "n3"]]


async def test_a_namespace_keeps_runs_for_as_long_as_it_says(caller: Caller):
    century_s = 36_500 * 86_400
    for name, given, expected in (("no", {}, century_s), ("far", {"seconds": 10**10}, century_s)):
        await caller.call(
            "RegisterNamespace", namespace=name, workflow_execution_retention_period=given
        )
        described = await caller.call("DescribeNamespace", namespace=name)
        assert described.config.workflow_execution_retention_ttl.seconds == expected


async def test_a_namespace_is_updated_in_what_the_request_names(caller: Caller):
    await caller.call(
        "RegisterNamespace", namespace="n", description="d", owner_email="o", data={"a": "1", "b": "2"},
        workflow_execution_retention_period={"seconds": 3_600},
    )  # fmt: skip
    await caller.call("AddSearchAttributes", namespace="n", search_attributes={"Kept": 2})
    untouched = await caller.call("UpdateNamespace", namespace="n", config={})
    assert untouched.namespace_info.description == "d"
    assert untouched.config.workflow_execution_retention_ttl.seconds == 3_600
    ttl = {"workflow_execution_retention_ttl": {"seconds": 7_200}}
    updated = await caller.call(
        "UpdateNamespace",
        namespace="n",
        update_info={"description": "new", "data": {"b": "3", "c": "4"}},
        config=ttl,
    )
    described = await caller.call("DescribeNamespace", namespace="n")
    for answer in (updated, described):
        info = answer.namespace_info
        assert (info.name, info.description, info.owner_email) == ("n", "new", "o")
        assert dict(info.data) == {"a": "1", "b": "3", "c": "4"}
        assert answer.config.workflow_execution_retention_ttl.seconds == 7_200
    assert updated.replication_config == described.replication_config
    owned = await caller.call(
        "UpdateNamespace", namespace="n", update_info={"owner_email": "me", "state": 1}
    )
    assert (owned.namespace_info.owner_email, owned.namespace_info.description) == ("me", "new")
    forever = await caller.call(
        "UpdateNamespace", namespace="n", config={"workflow_execution_retention_ttl": {}}
    )
    assert forever.config.workflow_execution_retention_ttl.seconds == 36_500 * 86_400
    attributes = await caller.call("ListSearchAttributes", namespace="n")
    assert dict(attributes.custom_attributes) == {"Kept": 2}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"config": {"workflow_execution_retention_ttl": {"seconds": -1}}}, "must not be negative"),
        ({"update_info": {"state": 3}}, "state of a namespace cannot be changed"),
        ({"promote_namespace": True}, "promote_namespace is not supported"),
        ({"delete_bad_binary": "x"}, "delete_bad_binary is not supported"),
        (
            {"replication_config": {"active_cluster_name": "x"}},
            "replication_config is not supported",
        ),
    ],
)
async def test_what_cannot_be_updated_is_refused(
    caller: Caller, fields: dict[str, Any], reason: str
):
    with pytest.raises(InvalidArgument, match=reason):
        await caller.call("UpdateNamespace", namespace="default", **fields)
    with pytest.raises(NotFound):
        await caller.call("UpdateNamespace", namespace="nowhere")


async def test_changes_of_namespaces_that_meet_are_all_kept(caller: Caller):
    many = await asyncio.gather(
        *(caller.call("RegisterNamespace", namespace="same") for _ in range(4)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, AlreadyExists) for one in many) == 3
    names = [f"A{number}" for number in range(6)]
    await asyncio.gather(
        *(caller.call("AddSearchAttributes", namespace="same", search_attributes={name: 2}) for name in names),
        caller.call("UpdateNamespace", namespace="same", update_info={"description": "d"}),
        *(caller.call("UpdateNamespace", namespace="same", update_info={"data": {n: n}}) for n in names),
    )  # fmt: skip
    found = await caller.call("ListSearchAttributes", namespace="same")
    assert dict(found.custom_attributes) == dict.fromkeys(names, 2)
    described = await caller.call("DescribeNamespace", namespace="same")
    assert described.namespace_info.description == "d"
    assert set(described.namespace_info.data) == set(names)
    removed = await asyncio.gather(
        *(caller.call("RemoveSearchAttributes", namespace="same", search_attributes=[n]) for n in names[:5]),
        caller.call("RemoveSearchAttributes", namespace="same", search_attributes=["A0"]),
        return_exceptions=True,
    )  # fmt: skip
    assert [type(one) for one in removed if isinstance(one, Exception)] == [InvalidArgument]
    found = await caller.call("ListSearchAttributes", namespace="same")
    assert dict(found.custom_attributes) == {"A5": 2}


@pytest.mark.parametrize("name", ["", "-x", "with space", "x" * 1_001])
async def test_bad_namespace_names_are_refused(caller: Caller, name: str):
    with pytest.raises(InvalidArgument):
        await caller.call("RegisterNamespace", namespace=name)


async def test_an_unknown_namespace_is_named(caller: Caller):
    with pytest.raises(NotFound, match="Namespace nowhere is not found") as caught:
        await caller.start(namespace="nowhere")
    assert caught.value.details == (errordetails.NamespaceNotFoundFailure(namespace="nowhere"),)


@pytest.mark.parametrize("unknown", ["A", "Color", "Size", "Zone", "x", "Weight"])
async def test_one_unknown_search_attribute_among_known_ones_is_named(caller: Caller, unknown: str):
    names = ("BuildIds", "BatcherUser", unknown, "TemporalChangeVersion", "BinaryChecksums")
    payload = common.Payload(data=b'["red"]')
    attributes = common.SearchAttributes(indexed_fields=dict.fromkeys(names, payload))
    with pytest.raises(InvalidArgument, match=f"no mapping defined for search attribute {unknown}"):
        await caller.start(search_attributes=attributes)


async def test_search_attributes_must_be_registered(caller: Caller):
    attributes = common.SearchAttributes(
        indexed_fields={
            "Color": common.Payload(metadata={"encoding": b"json/plain"}, data=b'"red"')
        }
    )
    with pytest.raises(InvalidArgument, match="no mapping defined for search attribute Color"):
        await caller.start(search_attributes=attributes)
    keyword = enums.INDEXED_VALUE_TYPE_KEYWORD
    await caller.call("AddSearchAttributes", search_attributes={"Color": keyword})
    await caller.call("AddSearchAttributes", search_attributes={"Color": keyword})
    with pytest.raises(AlreadyExists):
        await caller.call(
            "AddSearchAttributes", search_attributes={"Color": enums.INDEXED_VALUE_TYPE_INT}
        )
    with pytest.raises(InvalidArgument, match="reserved"):
        await caller.call("AddSearchAttributes", search_attributes={"RunId": keyword})
    await caller.start(search_attributes=attributes)
    described = await caller.call(
        "DescribeWorkflowExecution", execution=common.WorkflowExecution(workflow_id="w")
    )
    listed_runs = await caller.call("ListWorkflowExecutions")
    for info in (described.workflow_execution_info, listed_runs.executions[0]):
        color = info.search_attributes.indexed_fields["Color"]
        assert (color.data, color.metadata["type"]) == (b'"red"', b"Keyword")
    started = (await caller.poll()).history.events[0]
    recorded = started.workflow_execution_started_event_attributes.search_attributes
    assert recorded.indexed_fields["Color"].metadata["type"] == b"Keyword", "workers decode by it"
    listed = await caller.call("ListSearchAttributes")
    assert dict(listed.custom_attributes) == {"Color": keyword}
    await caller.call("RemoveSearchAttributes", search_attributes=["Color"])
    with pytest.raises(InvalidArgument):
        await caller.start("other", search_attributes=attributes)


@pytest.mark.parametrize("other", ["A", "Size", "Zone", "Weight", "x"])
async def test_one_search_attribute_of_another_type_refuses_them_all(caller: Caller, other: str):
    keyword, number = enums.INDEXED_VALUE_TYPE_KEYWORD, enums.INDEXED_VALUE_TYPE_INT
    await caller.call("AddSearchAttributes", search_attributes={other: keyword})
    with pytest.raises(AlreadyExists, match=f"Search attribute {other} already exists"):
        await caller.call(
            "AddSearchAttributes",
            search_attributes=dict.fromkeys(("B", "C", other, "D", "E"), number),
        )
    listed = await caller.call("ListSearchAttributes")
    assert dict(listed.custom_attributes) == {other: keyword}


async def test_lists_come_in_pages_and_follow_the_runs(caller: Caller):
    for number in range(5):
        await caller.start(f"w{number}")
    first = await caller.call("ListWorkflowExecutions", page_size=3)
    second = await caller.call(
        "ListWorkflowExecutions", page_size=3, next_page_token=first.next_page_token
    )
    found = [e.execution.workflow_id for page in (first, second) for e in page.executions]
    assert sorted(found) == [f"w{number}" for number in range(5)]
    assert second.next_page_token == b""
    task = await caller.poll()
    await caller.complete(task, complete_workflow())
    closed = task.workflow_execution.workflow_id
    done = await caller.call("ListWorkflowExecutions", query="ExecutionStatus = 'Completed'")
    (info,) = done.executions
    assert (info.execution.workflow_id, info.type.name) == (closed, "Greeting")
    groups = await caller.call("CountWorkflowExecutions", query="GROUP BY ExecutionStatus")
    counted = {g.group_values[0].data: g.count for g in groups.groups}
    assert counted == {b'"Running"': 4, b'"Completed"': 1}
    assert groups.count == 5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"workflow_id": ""}, "WorkflowId is not set"),
        ({"workflow_id": "x" * 1_001}, "WorkflowId length exceeds limit"),
        ({"workflow_type": {}}, "WorkflowType is not set"),
        ({"task_queue": {}}, "TaskQueue is not set"),
        ({"workflow_run_timeout": {"seconds": -1}}, "WorkflowRunTimeout must not be negative"),
        ({"namespace": ""}, "Namespace is not set"),
        (
            {"cron_schedule": "* * * * *", "workflow_start_delay": {"seconds": 1}},
            "may not be used together",
        ),
        (
            {"workflow_id_reuse_policy": 4, "workflow_id_conflict_policy": 1},
            "TERMINATE_IF_RUNNING cannot be used together",
        ),
    ],
)
async def test_bad_starts_are_refused_with_the_field(
    caller: Caller, fields: dict[str, Any], message: str
):
    good: dict[str, Any] = {
        "workflow_id": "w",
        "workflow_type": {"name": "Greeting"},
        "task_queue": {"name": "queue"},
    }
    with pytest.raises(InvalidArgument, match=message):
        await caller.call("StartWorkflowExecution", **(good | fields))


async def test_a_start_without_request_id_is_served(caller: Caller):
    response = await caller.call(
        "StartWorkflowExecution",
        workflow_id="w",
        workflow_type={"name": "Greeting"},
        task_queue={"name": "queue"},
    )
    assert response.started


async def test_a_method_that_is_not_there_is_named(caller: Caller):
    missing = WORKFLOW_SERVICE["DeprecateNamespace"]
    assert missing.path not in RPCS
    with pytest.raises(Unimplemented, match="DeprecateNamespace is not implemented"):
        await caller.node.frontend.dispatch(missing, missing.request_type())


async def test_a_bug_is_answered_with_a_reference_and_logged_without_the_request(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("in the middle")

    monkeypatch.setattr(caller.node.frontend.services.runs, "start", broken)
    secret = common.Payloads(payloads=[common.Payload(data=b"secret payload")])
    with pytest.raises(Internal) as caught:
        await caller.start(input=secret)
    reference = caught.value.message.rsplit(" ", 1)[1].rstrip(".")
    assert reference in caplog.text
    assert "ZeroDivisionError" in caught.value.message
    assert "in the middle" not in caught.value.message
    assert "secret payload" not in caplog.text


async def test_a_node_that_stops_refuses_new_calls(caller: Caller):
    caller.node.frontend.drain()
    with pytest.raises(Unavailable):
        await caller.call("GetSystemInfo")


async def test_over_the_wire_a_poll_needs_a_deadline_and_a_request_must_parse(caller: Caller):
    frontend = caller.node.frontend
    poll = WORKFLOW_SERVICE["PollWorkflowTaskQueue"]
    with pytest.raises(InvalidArgument, match="set a deadline"):
        await frontend.dispatch_encoded(poll, b"", {}, None)
    with pytest.raises(InvalidArgument, match="not a valid GetSystemInfoRequest"):
        await frontend.dispatch_encoded(WORKFLOW_SERVICE["GetSystemInfo"], b"\xff", {}, None)
    info = workflowservice.GetSystemInfoResponse.FromString(
        await frontend.dispatch_encoded(WORKFLOW_SERVICE["GetSystemInfo"], b"", {}, SECOND_NS)
    )
    assert info.capabilities.sdk_metadata


@pytest.mark.parametrize("path", sorted(RPCS))
async def test_every_rpc_answers_an_empty_request_with_a_response_or_a_users_error(
    caller: Caller, path: str
):
    """S-40: clients retry Internal and Unknown forever, so no request may cause them."""
    method = RPCS[path].method
    retried = ("INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS", "ABORTED", "OUT_OF_RANGE")
    code = "OK"
    try:
        await caller.node.frontend.dispatch(method, method.request_type())
    except RpcError as error:
        code = error.status_code.name
    assert code not in retried


def test_the_table_names_each_method_once_and_under_its_service():
    known = {**WORKFLOW_SERVICE, **OPERATOR_SERVICE}
    assert all(row.method is known[row.method.name] for row in RPCS.values())
    assert [row.method.name for row in RPCS.values() if row.method.waits is Waits.FOR_TASK] == [
        "PollWorkflowTaskQueue",
        "PollNexusTaskQueue",
        "PollActivityTaskQueue",
    ]
