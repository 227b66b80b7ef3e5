"""Handles of updates."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Generic, cast

from perdure.client import encode
from perdure.client.caller import CallingClient
from perdure.client.enums import WorkflowUpdateStage
from perdure.client.errors import (
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from perdure.service import RPCError, RPCStatusCode
from perdure.types import LocalReturnType
from perdure.wire.api import update as update_pb
from perdure.wire.api import workflowservice as pb
from perdure.wire.seam import WORKFLOW_SERVICE


class WorkflowUpdateHandle(Generic[LocalReturnType]):
    """An update that was sent. `WorkflowHandle.start_update` and `WorkflowHandle.get_update_handle` make it.

    Args:
        client: Makes the calls.
        id: The update's id.
        workflow_id: The workflow that it was sent to.
        workflow_run_id: The run that it was sent to, if known.
        result_type: Type to convert the result to.
        known_outcome: The outcome, if it came with the answer.
    """

    def __init__(
        self,
        client: CallingClient,
        id: str,
        workflow_id: str,
        *,
        workflow_run_id: str | None = None,
        result_type: type | None = None,
        known_outcome: update_pb.Outcome | None = None,
    ) -> None:
        self._client = client
        self._id = id
        self._workflow_id = workflow_id
        self._workflow_run_id = workflow_run_id
        self._result_type = result_type
        self._known_outcome = known_outcome

    @property
    def id(self) -> str:
        """The update's id."""
        return self._id

    @property
    def workflow_id(self) -> str:
        """The workflow that it was sent to."""
        return self._workflow_id

    @property
    def workflow_run_id(self) -> str | None:
        """The run that it was sent to, if known."""
        return self._workflow_run_id

    async def result(
        self,
        *,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> LocalReturnType:
        """Wait for the update's result.

        Args:
            rpc_metadata: Headers of each call. They override the client's.
            rpc_timeout: Time limit of each call, not of all together; `asyncio.timeout` limits those.

        Returns:
            The converted result.

        Raises:
            WorkflowUpdateFailedError: The update was rejected or failed. The cause says why.
            WorkflowUpdateRPCTimeoutOrCancelledError: A call timed out or was cancelled. The update continues.
            RPCError: The service refused the call, or could not be reached.
        """
        outcome = await self.wait_for_outcome(rpc_metadata=rpc_metadata, rpc_timeout=rpc_timeout)
        converter = self._client.caller.converter_for(self._workflow_id)
        if outcome.HasField("failure"):
            raise WorkflowUpdateFailedError(await converter.decode_failure(outcome.failure))
        hints = [self._result_type] if self._result_type else None
        values: Any = await converter.decode_wrapper(outcome.success, hints)
        if len(values) > 1:
            warnings.warn(f"Expected single update result, got {len(values)}", stacklevel=2)
        return cast("LocalReturnType", values[0] if values else None)

    async def wait_for_outcome(
        self,
        *,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> update_pb.Outcome:
        """Wait until the update has an outcome, and keep it. For the library only: use `result`.

        Args:
            rpc_metadata: Headers of each call. They override the client's.
            rpc_timeout: Time limit of each call.

        Returns:
            The outcome.

        Raises:
            WorkflowUpdateRPCTimeoutOrCancelledError: A call timed out or was cancelled. The update continues.
            RPCError: The service refused the call, or could not be reached.
        """
        if self._known_outcome is not None:
            return self._known_outcome
        request = encode.poll_workflow_update(
            self._client.caller,
            self._workflow_id,
            self._workflow_run_id,
            self._id,
            WorkflowUpdateStage.COMPLETED,
        )
        while True:
            try:
                response: pb.PollWorkflowExecutionUpdateResponse = (
                    await self._client.service_client.call(
                        WORKFLOW_SERVICE["PollWorkflowExecutionUpdate"],
                        request,
                        metadata=rpc_metadata,
                        timeout=rpc_timeout,
                    )
                )
            except RPCError as error:
                if error.status in {RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED}:
                    raise WorkflowUpdateRPCTimeoutOrCancelledError from error
                raise
            except asyncio.CancelledError as error:
                raise WorkflowUpdateRPCTimeoutOrCancelledError from error
            if response.HasField("outcome"):
                self._known_outcome = response.outcome
                return response.outcome
