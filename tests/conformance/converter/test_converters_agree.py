"""Payloads and failures cross between the two SDKs in both directions without any difference.

The official SDK runs in its own process (`official.py`), once for all cases.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perdure import exceptions
from perdure.converter import (
    DataConverter,
    DefaultFailureConverter,
    DefaultFailureConverterWithEncodedAttributes,
)
from perdure.wire.api import common as common_pb
from perdure.wire.api import failure as failure_pb
from tests.conformance.converter import cases

ROOT = Path(__file__).parents[3]
CONVERTER = DataConverter.default.payload_converter
PLAIN = DefaultFailureConverter()
HIDDEN = DefaultFailureConverterWithEncodedAttributes()


def payload_of(name: str) -> str:
    value, _ = cases.VALUES[name]
    return CONVERTER.to_payload(value).SerializeToString(deterministic=True).hex()


def failure_of(error: BaseException, converter: DefaultFailureConverter) -> str:
    failure = failure_pb.Failure()
    converter.to_failure(error, CONVERTER, failure)
    return failure.SerializeToString(deterministic=True).hex()


def read_payload(name: str, payload: str) -> Any:
    _, hint = cases.VALUES[name]
    parsed = common_pb.Payload.FromString(bytes.fromhex(payload))
    return CONVERTER.from_payloads([parsed], [hint] if hint else None)[0]


def describe_failure(failure: str) -> Any:
    return cases.describe(
        PLAIN.from_failure(failure_pb.Failure.FromString(bytes.fromhex(failure)), CONVERTER)
    )


@pytest.fixture(scope="module")
def official() -> dict[str, Any]:
    errors = cases.errors(exceptions)
    hidden = {f"{name} hidden": failure_of(error, HIDDEN) for name, error in errors.items()}
    job = {
        "payloads": {name: payload_of(name) for name in cases.VALUES},
        "failures": {name: failure_of(error, PLAIN) for name, error in errors.items()} | hidden,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.conformance.converter.official"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", cases.VALUES)
def test_our_payloads_are_their_payloads(name: str, official: dict[str, Any]) -> None:
    assert payload_of(name) == official["payloads"][name]


@pytest.mark.parametrize("name", cases.VALUES)
def test_each_reads_what_the_other_wrote(name: str, official: dict[str, Any]) -> None:
    value, hint = cases.VALUES[name]
    ours = read_payload(name, official["payloads"][name])
    assert repr(ours) == official["read"][name]
    if hint is not None:
        assert ours == value


@pytest.mark.parametrize("name", cases.MISFITS)
def test_both_refuse_what_does_not_fit(name: str, official: dict[str, Any]) -> None:
    value, hint = cases.MISFITS[name]
    assert official["fits"][name] is False
    with pytest.raises((TypeError, ValueError)):
        CONVERTER.from_payloads(CONVERTER.to_payloads([value]), [hint])


@pytest.mark.parametrize("name", cases.errors(exceptions))
def test_our_failures_are_their_failures(name: str, official: dict[str, Any]) -> None:
    assert failure_of(cases.errors(exceptions)[name], PLAIN) == official["failures"][name]


@pytest.mark.parametrize("name", cases.errors(exceptions))
def test_our_encoded_attributes_are_theirs(name: str, official: dict[str, Any]) -> None:
    assert failure_of(cases.errors(exceptions)[name], HIDDEN) == official["hidden"][name]


@pytest.mark.parametrize("name", cases.errors(exceptions))
def test_errors_look_the_same_after_the_journey(name: str, official: dict[str, Any]) -> None:
    assert describe_failure(official["failures"][name]) == official["errors"][name]
    assert describe_failure(official["hidden"][name]) == official["errors"][f"{name} hidden"]
