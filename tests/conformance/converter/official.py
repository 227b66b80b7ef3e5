"""Runs in its own process with the official SDK: reads a JSON job, writes a JSON answer. Payloads travel as hex."""

from __future__ import annotations

import json
import sys
from typing import Any

from temporalio import exceptions
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverter,
    DefaultFailureConverterWithEncodedAttributes,
)

from tests.conformance.converter import cases


def main() -> None:
    job: dict[str, Any] = json.load(sys.stdin)
    converter = DataConverter.default.payload_converter
    plain = DefaultFailureConverter()
    hidden = DefaultFailureConverterWithEncodedAttributes()

    def failure_of(error: BaseException, with_attributes: bool) -> str:
        failure = Failure()
        (hidden if with_attributes else plain).to_failure(error, converter, failure)
        return failure.SerializeToString(deterministic=True).hex()

    def read(name: str, payload: str) -> str:
        _, hint = cases.VALUES[name]
        parsed = Payload.FromString(bytes.fromhex(payload))
        return repr(converter.from_payloads([parsed], [hint] if hint else None)[0])

    def fits(name: str) -> bool:
        value, hint = cases.MISFITS[name]
        try:
            converter.from_payloads(converter.to_payloads([value]), [hint])
        except Exception:  # noqa: BLE001 - the question is whether, not what
            return False
        return True

    errors = cases.errors(exceptions)
    json.dump(
        {
            "payloads": {
                name: converter.to_payload(value).SerializeToString(deterministic=True).hex()
                for name, (value, _) in cases.VALUES.items()
            },
            "read": {name: read(name, payload) for name, payload in job["payloads"].items()},
            "fits": {name: fits(name) for name in cases.MISFITS},
            "failures": {name: failure_of(error, False) for name, error in errors.items()},
            "hidden": {name: failure_of(error, True) for name, error in errors.items()},
            "errors": {
                name: cases.describe(
                    plain.from_failure(Failure.FromString(bytes.fromhex(failure)), converter)
                )
                for name, failure in job["failures"].items()
            },
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
