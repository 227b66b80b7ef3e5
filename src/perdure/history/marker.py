"""Commands that only record something: markers, search attributes, memo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from perdure.history.commands.checks import CommandChecks, metadata_of
from perdure.history.commands.table import Command, CommandContext, handles
from perdure.history.draft.visible import visibility_row
from perdure.wire.api import command as commands_api
from perdure.wire.api import enums, history

if TYPE_CHECKING:
    from perdure.history.draft.draft import Draft
    from perdure.wire.api import common

Record = commands_api.RecordMarkerCommandAttributes
Upsert = commands_api.UpsertWorkflowSearchAttributesCommandAttributes
Modify = commands_api.ModifyWorkflowPropertiesCommandAttributes

_BAD_MARKER = enums.WORKFLOW_TASK_FAILED_CAUSE_BAD_RECORD_MARKER_ATTRIBUTES
_BAD_SEARCH = enums.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES
_BAD_PROPERTIES = enums.WORKFLOW_TASK_FAILED_CAUSE_BAD_MODIFY_WORKFLOW_PROPERTIES_ATTRIBUTES


def _size_bytes(values: Mapping[str, common.Payload]) -> int:
    return sum(len(key) + value.ByteSize() for key, value in values.items())


@handles(enums.COMMAND_TYPE_RECORD_MARKER)
def _record(draft: Draft, attributes: Record, command: Command, context: CommandContext) -> None:
    check = CommandChecks(command, _BAD_MARKER, draft.env.limits)
    check.id(attributes.marker_name, "marker name")
    size_bytes = sum(len(key) + value.ByteSize() for key, value in attributes.details.items())
    check.blob(size_bytes, ".Details")
    draft.add(
        history.MarkerRecordedEventAttributes(
            marker_name=attributes.marker_name,
            details=attributes.details,
            workflow_task_completed_event_id=context.completed_event_id,
            header=attributes.header if attributes.HasField("header") else None,
            failure=attributes.failure if attributes.HasField("failure") else None,
        ),
        user_metadata=metadata_of(command),
    )


@handles(enums.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
def _upsert(draft: Draft, attributes: Upsert, command: Command, context: CommandContext) -> None:
    check = CommandChecks(command, _BAD_SEARCH, draft.env.limits)
    fields = attributes.search_attributes.indexed_fields
    if not fields:
        raise check.reject("no search attribute is set.")
    check.blob(_size_bytes(fields), "")
    typed = check.search_attributes(attributes.search_attributes, draft.env)
    draft.add(
        history.UpsertWorkflowSearchAttributesEventAttributes(
            workflow_task_completed_event_id=context.completed_event_id,
            search_attributes=typed,
        ),
        user_metadata=metadata_of(command),
    )
    draft.visible(visibility_row(draft.state))


@handles(enums.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES)
def _modify(draft: Draft, attributes: Modify, command: Command, context: CommandContext) -> None:
    check = CommandChecks(command, _BAD_PROPERTIES, draft.env.limits)
    fields = attributes.upserted_memo.fields
    if not fields:
        raise check.reject("no memo field is set.")
    check.blob(_size_bytes(fields), "")
    draft.add(
        history.WorkflowPropertiesModifiedEventAttributes(
            workflow_task_completed_event_id=context.completed_event_id,
            upserted_memo=attributes.upserted_memo,
        ),
        user_metadata=metadata_of(command),
    )
    memo_bytes = sum(len(key) + len(value) for key, value in draft.state.memo)
    check.memo(memo_bytes, ". Memo")
    draft.visible(visibility_row(draft.state))
