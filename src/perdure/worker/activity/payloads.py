"""Payloads of an activity task: arguments and heartbeat details in, failures out.

A user's converter may raise anything: what it raises becomes a failure of the attempt. Not here: codecs of workflow
tasks (`codec`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.activity import logger as activity_logger
from perdure.activity.definition import Definition
from perdure.common.raw import RawValue
from perdure.common.signatures import types_of_arguments
from perdure.converter import DataConverter
from perdure.core.user_code import QuietLogger, passes_through
from perdure.exceptions import ApplicationError
from perdure.wire.api import common, workflowservice
from perdure.wire.api import failure as failures

Poll = workflowservice.PollActivityTaskQueueResponse

logger = QuietLogger(activity_logger)


async def encode_failure(converter: DataConverter, error: BaseException) -> failures.Failure:
    """The error as a failure; one about the converter when it cannot convert this error."""
    failure = failures.Failure()
    try:
        await converter.encode_failure(error, failure)
    except BaseException as inner:
        if passes_through(inner):
            raise
        logger.exception("Failed building a failure out of %s", type(error).__name__)
        failure = failures.Failure(
            message=f"Failed building exception result: {type(inner).__name__}",
            application_failure_info=failures.ApplicationFailureInfo(),
        )
    return failure


async def decode_args(definition: Definition, task: Poll, converter: DataConverter) -> list[Any]:
    """The arguments of the call, as the function's hints say."""
    payloads = task.input.payloads
    types = definition.arg_types
    if definition.name is None:
        types = [RawValue] * len(payloads)
    else:
        types = types_of_arguments(definition.fn, types, len(payloads))
    try:
        args = await converter.decode(payloads, type_hints=types) if payloads else []
    except Exception as error:
        raise ApplicationError("Failed decoding arguments") from error
    return [args] if definition.name is None else args


async def decode_heartbeat(task: Poll, converter: DataConverter) -> list[Any]:
    """The details of the last heartbeat of an earlier attempt."""
    payloads = task.heartbeat_details.payloads
    try:
        return await converter.decode(payloads) if payloads else []
    except Exception as error:
        raise ApplicationError("Failed decoding heartbeat details", non_retryable=True) from error


async def decode_headers(
    headers: Mapping[str, common.Payload], converter: DataConverter
) -> dict[str, common.Payload]:
    """The headers as the caller's interceptors wrote them: only the codec is undone."""
    try:
        return {
            name: (await converter.decode_payloads([payload]))[0]
            for name, payload in headers.items()
        }
    except Exception as error:
        raise ApplicationError("Failed decoding headers") from error
