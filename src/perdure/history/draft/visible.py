"""What lists show of a run, taken from its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure.entity.transition import VisibilityRow
from perdure.history.state.fold.marker import BUILD_IDS
from perdure.wire.api import common, workflow
from perdure.wire.times import timestamp, timestamp_or_none

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure.history.state.run_state import ResetPoint, RunState


def visibility_row(state: RunState) -> VisibilityRow:
    """The row for the run as it is now; a draft writes it only when something visible changed (D-48)."""
    info = state.info
    return VisibilityRow(
        namespace_id=state.key.namespace_id,
        workflow_id=state.key.name,
        run_id=state.key.run_id,
        workflow_type=info.workflow_type,
        task_queue=info.task_queue,
        status=int(state.status),
        start_ns=info.start_ns,
        execution_ns=info.start_ns + info.first_task_backoff_ns,
        close_ns=state.close_ns,
        history_length=state.next_event_id - 1,
        history_size_bytes=state.history_size_bytes,
        memo=memo_of(state).SerializeToString(deterministic=True),
        search_attributes=search_attributes_of(state).SerializeToString(deterministic=True),
        parent_workflow_id=info.parent.name if info.parent else "",
        parent_run_id=info.parent.run_id if info.parent else "",
        root_workflow_id=info.root_workflow_id,
        root_run_id=info.root_run_id,
    )


def memo_of(state: RunState) -> common.Memo:
    fields = {key: common.Payload.FromString(data) for key, data in state.memo}
    return common.Memo(fields=fields)


def search_attributes_of(state: RunState) -> common.SearchAttributes:
    fields = {key: common.Payload.FromString(data) for key, data in state.search_attributes}
    return common.SearchAttributes(indexed_fields=fields)


def without_builds(row: VisibilityRow) -> VisibilityRow:
    """The row without `BuildIds`, because a new build alone is no reason to write the row again (S-50)."""
    attributes = common.SearchAttributes.FromString(row.search_attributes)
    attributes.indexed_fields.pop(BUILD_IDS, None)
    return msgspec.structs.replace(
        row, search_attributes=attributes.SerializeToString(deterministic=True)
    )


def reset_points_of(points: Iterable[ResetPoint]) -> workflow.ResetPoints:
    """Reset points as the API shows them."""
    return workflow.ResetPoints(
        points=[
            workflow.ResetPointInfo(
                build_id=point.build_id,
                binary_checksum=point.binary_checksum,
                run_id=point.run_id,
                first_workflow_task_completed_id=point.completed_event_id,
                create_time=timestamp(point.created_ns),
                expire_time=timestamp_or_none(point.expires_ns),
                resettable=True,
            )
            for point in points
        ]
    )
