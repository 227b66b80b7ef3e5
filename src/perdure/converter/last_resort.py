"""A failure for every error, even one that the user's failure converter cannot convert.

A failed workflow task or query must be reported whatever the converters do. The failure that is made without them
contains only the types of both errors, because a message may hold what should have been encrypted.

Not here: the conversion itself (`failure`); failures of activities, which also pass through a codec.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.user_code import passes_through, quiet_logger
from perdure.wire.api import failure as failure_pb
from perdure.wire.failures import bound

if TYPE_CHECKING:
    from perdure.converter.failure import FailureConverter
    from perdure.converter.payload import PayloadConverter

_log = quiet_logger(__name__)


def failure_of(
    error: BaseException, failure_converter: FailureConverter, payload_converter: PayloadConverter
) -> failure_pb.Failure:
    """The error as a failure; one about the converter when that cannot convert it."""
    failure = failure_pb.Failure()
    try:
        failure_converter.to_failure(error, payload_converter, failure)
        bound(failure)
    except BaseException as inner:
        if passes_through(inner):
            raise
        name, why = type(error).__name__, type(inner).__name__
        _log.warning("%s could not be converted to a failure", name, exc_info=inner)
        return plain_failure(f"{name} could not be converted to a failure: {why}", name)
    return failure


def plain_failure(message: str, kind: str) -> failure_pb.Failure:
    """A failure of the application that no converter has seen."""
    return failure_pb.Failure(
        message=message,
        source="PerdurePython",
        application_failure_info=failure_pb.ApplicationFailureInfo(type=kind),
    )
