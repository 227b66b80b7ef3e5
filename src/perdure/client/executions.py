"""Workflow executions as values: entries of lists, descriptions and counts. Not here: fetching them (`listing`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, overload

from perdure.client.enums import WorkflowExecutionStatus, status_or_none
from perdure.common import SearchAttributes, SearchAttributeValue, TypedSearchAttributes
from perdure.common.signatures import UNSET
from perdure.converter import (
    DataConverter,
    WorkflowSerializationContext,
    decode_search_attributes,
    decode_typed_search_attributes,
)
from perdure.converter.search_attributes import decode_search_attribute_value
from perdure.types import AnyType, ParamType
from perdure.wire.api import workflow as workflow_pb
from perdure.wire.api import workflowservice as pb
from perdure.wire.times import datetime_of


@dataclass
class WorkflowExecution:
    """One run of a workflow, as lists show it.

    Attributes:
        close_time: When it closed; None while it is open.
        execution_time: When it began to execute: after the start delay, if there is one.
        history_length: Number of events.
        id: The workflow id.
        namespace: The namespace.
        parent_id: The parent's workflow id; None for a workflow that is not a child.
        parent_run_id: The parent's run id; None for a workflow that is not a child.
        root_id: The topmost parent's workflow id, if the service reported it.
        root_run_id: The topmost parent's run id, if the service reported it.
        raw_info: The API message with all of this.
        run_id: The run id.
        search_attributes: Deprecated: use `typed_search_attributes`.
        start_time: When it was started.
        status: Its status; None for a status that this version does not know.
        task_queue: The queue of its tasks.
        typed_search_attributes: Its search attributes.
        workflow_type: The name of its type.
        context_free_data_converter: The client's data converter.
    """

    close_time: datetime | None
    execution_time: datetime | None
    history_length: int
    id: str
    namespace: str
    parent_id: str | None
    parent_run_id: str | None
    root_id: str | None
    root_run_id: str | None
    raw_info: workflow_pb.WorkflowExecutionInfo = field(repr=False)
    run_id: str
    search_attributes: SearchAttributes = field(repr=False)
    start_time: datetime
    status: WorkflowExecutionStatus | None
    task_queue: str
    typed_search_attributes: TypedSearchAttributes
    workflow_type: str
    context_free_data_converter: DataConverter = field(repr=False)

    @property
    def data_converter(self) -> DataConverter:
        """The client's data converter, with this workflow's serialization context."""
        context = WorkflowSerializationContext(namespace=self.namespace, workflow_id=self.id)
        return self.context_free_data_converter.with_context(context)

    async def memo(self) -> Mapping[str, Any]:
        """The memo: values by key, converted without type hints."""
        return await self.data_converter.decode_memo(self.raw_info.memo)

    @overload
    async def memo_value(self, key: str, default: Any = UNSET) -> Any: ...
    @overload
    async def memo_value(self, key: str, *, type_hint: type[ParamType]) -> ParamType: ...
    @overload
    async def memo_value(
        self, key: str, default: AnyType, *, type_hint: type[ParamType]
    ) -> AnyType | ParamType: ...
    async def memo_value(
        self, key: str, default: Any = UNSET, *, type_hint: type | None = None
    ) -> Any:
        """One value of the memo.

        Args:
            key: Its key.
            default: Returned when the memo has no such key.
            type_hint: Type to convert the value to.

        Raises:
            KeyError: The memo has no such key, and no default was given.
        """
        return await self.data_converter.decode_memo_field(
            self.raw_info.memo, key, default, type_hint
        )


@dataclass
class WorkflowExecutionDescription(WorkflowExecution):
    """One run of a workflow, with everything that the service reports about it.

    Attributes:
        raw_description: The API message with all of this.
        close_time, execution_time, history_length, id, namespace: As in `WorkflowExecution`.
        parent_id, parent_run_id, root_id, root_run_id, raw_info: As in `WorkflowExecution`.
        run_id, search_attributes, start_time, status, task_queue: As in `WorkflowExecution`.
        typed_search_attributes, workflow_type, context_free_data_converter: As in `WorkflowExecution`.
    """

    raw_description: pb.DescribeWorkflowExecutionResponse = field(repr=False)

    async def static_summary(self) -> str | None:
        """The summary that was given at the start; None if there was none."""
        metadata = self.raw_description.execution_config.user_metadata
        if not metadata.HasField("summary"):
            return None
        return (await self.data_converter.decode([metadata.summary]))[0]

    async def static_details(self) -> str | None:
        """The details that were given at the start; None if there were none."""
        metadata = self.raw_description.execution_config.user_metadata
        if not metadata.HasField("details"):
            return None
        return (await self.data_converter.decode([metadata.details]))[0]


def _fields(
    info: workflow_pb.WorkflowExecutionInfo, namespace: str, converter: DataConverter
) -> dict[str, Any]:
    has_parent = info.HasField("parent_execution")
    has_root = info.HasField("root_execution")
    return {
        "close_time": datetime_of(info.close_time) if info.HasField("close_time") else None,
        "execution_time": datetime_of(info.execution_time)
        if info.HasField("execution_time")
        else None,
        "history_length": info.history_length,
        "id": info.execution.workflow_id,
        "namespace": namespace,
        "parent_id": info.parent_execution.workflow_id if has_parent else None,
        "parent_run_id": info.parent_execution.run_id if has_parent else None,
        "root_id": info.root_execution.workflow_id if has_root else None,
        "root_run_id": info.root_execution.run_id if has_root else None,
        "raw_info": info,
        "run_id": info.execution.run_id,
        "search_attributes": decode_search_attributes(info.search_attributes),
        "start_time": datetime_of(info.start_time),
        "status": status_or_none(info.status),
        "task_queue": info.task_queue,
        "typed_search_attributes": decode_typed_search_attributes(info.search_attributes),
        "workflow_type": info.type.name,
        "context_free_data_converter": converter,
    }


def execution_from_info(
    info: workflow_pb.WorkflowExecutionInfo, namespace: str, converter: DataConverter
) -> WorkflowExecution:
    """An entry of a list."""
    return WorkflowExecution(**_fields(info, namespace, converter))


def description_from_response(
    response: pb.DescribeWorkflowExecutionResponse, namespace: str, converter: DataConverter
) -> WorkflowExecutionDescription:
    """The answer to a describe."""
    fields = _fields(response.workflow_execution_info, namespace, converter)
    return WorkflowExecutionDescription(**fields, raw_description=response)


@dataclass
class WorkflowExecutionCountAggregationGroup:
    """One group of a count with `GROUP BY`.

    Attributes:
        count: The number of workflows in the group.
        group_values: The values that the group has in common.
    """

    count: int
    group_values: Sequence[SearchAttributeValue]


@dataclass
class WorkflowExecutionCount:
    """How many workflows match a filter.

    Attributes:
        count: The number of workflows.
        groups: The numbers by group; empty without `GROUP BY`.
    """

    count: int
    groups: Sequence[WorkflowExecutionCountAggregationGroup]


def count_from_response(response: pb.CountWorkflowExecutionsResponse) -> WorkflowExecutionCount:
    """The answer to a count."""
    groups = [
        WorkflowExecutionCountAggregationGroup(
            count=group.count,
            group_values=[decode_search_attribute_value(value) for value in group.group_values],
        )
        for group in response.groups
    ]
    return WorkflowExecutionCount(count=response.count, groups=groups)
