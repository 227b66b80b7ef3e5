"""The error of a payload that converts but does not satisfy its model."""

from __future__ import annotations

from typing import Any

from perdure.exceptions import ApplicationError


def create_payload_validation_error(details: Any) -> ApplicationError:
    """A non-retryable error of the type reserved for payloads that fail validation.

    Args:
        details: What is wrong, as a value that the converter can carry; None for nothing.
    """
    given = () if details is None else (details,)
    return ApplicationError(
        "Payload validation failed", *given, type="PayloadValidationError", non_retryable=True
    )
