"""Payload and failure converters of one run, per serialization context.

A converter that does not use contexts is used unchanged. Contexts are built only for converters that do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from perdure.converter import (
    ActivitySerializationContext,
    CompositePayloadConverter,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from perdure.converter.last_resort import failure_of
from perdure.exceptions import FailureError
from perdure.wire.api import failure as failure_pb
from perdure.wire.failures import bound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure.converter import DataConverter, FailureConverter, PayloadConverter
    from perdure.replay.task import RunInfo
    from perdure.wire.api import common as common_pb

    Payload = common_pb.Payload


class Converters(NamedTuple):
    """A payload converter and a failure converter for one context."""

    payload: PayloadConverter
    failure: FailureConverter

    def payloads(self, values: Sequence[Any]) -> Sequence[Payload]:
        """The payloads of the arguments, if there are any."""
        return self.payload.to_payloads(values) if values else ()

    def one_payload(self, value: Any) -> Payload:
        """The payload of a result.

        Raises:
            ValueError: The converter made none or several (R-27).
        """
        made = self.payload.to_payloads([value])
        if len(made) != 1:
            message = f"Expected 1 result payload, got {len(made)}"
            raise ValueError(message)
        return made[0]

    def text(self, value: str | None) -> Payload | None:
        """The payload of a summary; None for no text."""
        return self.payload.to_payload(value) if value else None

    def to_failure(self, error: BaseException) -> failure_pb.Failure:
        """The failure message of an error."""
        failure = failure_pb.Failure()
        self.failure.to_failure(error, self.payload, failure)
        return bound(failure)

    def failure_of(self, error: BaseException) -> failure_pb.Failure:
        """Like `to_failure`. If that raises, returns a failure that reports this."""
        return failure_of(error, self.failure, self.payload)

    def from_failure(self, failure: failure_pb.Failure) -> BaseException:
        """The error of a failure message."""
        return self.failure.from_failure(failure, self.payload)


def _asks_for_context(converter: object) -> bool:
    """Whether a converter may differ by context. The default converter delegates to its parts."""
    if not isinstance(converter, WithSerializationContext):
        return False
    if (
        isinstance(converter, CompositePayloadConverter)
        and type(converter).with_context is CompositePayloadConverter.with_context
    ):
        return converter._asks_for_context()  # it keeps the answer; each run asks  # noqa: SLF001
    return True


class RunConverters:
    """Makes the converters of one run.

    Args:
        data_converter: The worker's.
        run: The run.
        is_failure: Whether an error fails the workflow; decoding errors that do are not wrapped.
    """

    __slots__ = ("_has_context", "_is_failure", "_plain", "_run", "workflow")

    def __init__(
        self,
        data_converter: DataConverter,
        run: RunInfo,
        is_failure: Callable[[BaseException], bool],
    ) -> None:
        self._plain = Converters(data_converter.payload_converter, data_converter.failure_converter)
        self._has_context = any(_asks_for_context(converter) for converter in self._plain)
        self._run = run
        self._is_failure = is_failure
        self.workflow = self.for_workflow(run.workflow_id)

    def for_workflow(self, workflow_id: str) -> Converters:
        """For payloads of a workflow: this one, a child, or the target of a signal."""
        if not self._has_context:
            return self._plain
        return self._with(
            WorkflowSerializationContext(namespace=self._run.namespace, workflow_id=workflow_id)
        )

    def for_activity(
        self, activity_type: str, activity_id: str | None, task_queue: str | None, *, is_local: bool
    ) -> Converters:
        """For the arguments and the result of an activity; `activity_id` only if the user set one."""
        if not self._has_context:
            return self._plain
        return self._with(
            ActivitySerializationContext(
                namespace=self._run.namespace,
                activity_id=activity_id,
                activity_type=activity_type,
                activity_task_queue=task_queue or self._run.task_queue,
                workflow_id=self._run.workflow_id,
                workflow_type=self._run.workflow_type,
                is_local=is_local,
            )
        )

    def _with(self, context: SerializationContext) -> Converters:
        payload: Any = self._plain.payload
        failure: Any = self._plain.failure
        if isinstance(payload, WithSerializationContext):
            payload = payload.with_context(context)
        if isinstance(failure, WithSerializationContext):
            failure = failure.with_context(context)
        return Converters(payload, failure)

    def decode(
        self, payloads: Sequence[Payload], types: list[type] | None, converters: Converters
    ) -> list[Any]:
        """Decode arguments or results. `types` has one type for each of them.

        Raises:
            RuntimeError: They cannot be decoded, which fails the task. An error that fails the workflow is
                raised unchanged instead.
        """
        if not payloads:
            return []
        try:
            return converters.payload.from_payloads(payloads, types)
        except FailureError:
            raise
        except Exception as error:
            if self._is_failure(error):
                raise
            message = "Failed decoding arguments"
            raise RuntimeError(message) from error
