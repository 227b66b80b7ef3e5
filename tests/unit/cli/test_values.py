from __future__ import annotations

import json

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.cli import output
from perdure.cli.server import options_of, without_effect
from perdure.rendering import durations, payloads
from perdure.wire.api import common, failure, workflowservice
from tests.unit.cli.histories import failed, greeting, json_payload, json_payloads


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("10s", 10_000_000_000),
        ("1h30m", 5_400_000_000_000),
        ("1.5s", 1_500_000_000),
        ("250ms", 250_000_000),
        ("2d", 172_800_000_000_000),
        ("0", 0),
        ("100us", 100_000),
    ],
)
def test_durations_are_read(text: str, ns: int):
    assert durations.parse(text) == ns


@pytest.mark.parametrize("text", ["", "10", "10 s", "s", "1x", "-1s", "1s2"])
def test_what_is_no_duration_is_explained(text: str):
    with pytest.raises(ValueError, match="is not a duration; write for instance"):
        durations.parse(text)


@given(st.integers(min_value=0, max_value=10**18))
def test_an_exact_duration_reads_back(ns: int):
    assert durations.parse(durations.show_exact(ns)) == ns


@given(st.integers(min_value=0, max_value=86_400 * 10**9 * 999))
def test_a_shown_duration_is_short(ns: int):
    assert len(durations.show(ns)) <= 7


def test_payloads_are_shown_as_json():
    assert payloads.text(json_payload('{"a":1}')) == '{"a": 1}'
    assert payloads.text(common.Payload(metadata={"encoding": b"binary/null"})) == "null"
    binary = common.Payload(metadata={"encoding": b"binary/plain"}, data=b"\x00\xff")
    assert payloads.text(binary) == "<binary/plain, 2 bytes>"
    assert payloads.value(binary) == {"encoding": "binary/plain", "data": "AP8="}
    assert payloads.text(common.Payload(data=b"x")) == "<no encoding, 1 bytes>"
    assert payloads.text(json_payload("{")) == "<json/plain, damaged, 1 bytes>"


def test_input_is_passed_on_byte_for_byte():
    (payload,) = payloads.inputs(["123456789012345678901234567890"], [], is_base64=False)
    assert payload.data == b"123456789012345678901234567890"
    assert payload.metadata["encoding"] == b"json/plain"


def test_input_that_is_not_json_says_how_to_write_text():
    with pytest.raises(
        payloads.InputError, match="input 2 is not JSON; a text needs its own quotes"
    ):
        payloads.inputs(["1", "World"], [], is_base64=False)


def test_input_metadata_applies_in_order():
    first, second, third = payloads.inputs(
        ["AA==", "BB==", "e30="],
        ["encoding=binary/plain", "encoding=json/plain"][:1],
        is_base64=True,
    )
    assert {p.metadata["encoding"] for p in (first, second, third)} == {b"binary/plain"}
    one, two = payloads.inputs(
        ["x", "2"], ["encoding=text/plain", "encoding=json/plain"], is_base64=False
    )
    assert [one.metadata["encoding"], two.metadata["encoding"]] == [b"text/plain", b"json/plain"]


@pytest.mark.parametrize(("values", "meta", "base64"), [(["1"], ["x"], False), (["%%"], [], True)])
def test_unusable_input_is_refused(values: list[str], meta: list[str], base64: bool):
    with pytest.raises(payloads.InputError):
        payloads.inputs(values, meta, is_base64=base64)


def test_a_failure_is_one_line_with_its_causes():
    problem = failure.Failure(
        message="Activity task failed",
        activity_failure_info=failure.ActivityFailureInfo(
            activity_type=common.ActivityType(name="charge")
        ),
        cause=failed("no\nfunds", "Declined"),
    )
    assert (
        payloads.failure_text(problem)
        == "activity charge: Activity task failed ← Declined: no funds"
    )


def test_endless_causes_are_cut():
    problem = failed("0")
    for number in range(1, 50):
        outer = failed(str(number))
        outer.cause.CopyFrom(problem)
        problem = outer
    assert payloads.failure_text(problem).count("←") == payloads.CAUSES_SHOWN_MAX - 1


def test_messages_are_shown_with_decoded_payloads():
    shown = output.message(greeting())
    started = shown["events"][0]["workflowExecutionStartedEventAttributes"]
    assert started["input"] == ["World"]
    assert started["taskQueue"] == {"name": "greetings"}
    raw = output.message(greeting(), decode_payloads=False)
    assert raw["events"][0]["workflowExecutionStartedEventAttributes"]["input"]["payloads"]


def test_maps_of_payloads_are_decoded():
    answer = workflowservice.DescribeWorkflowExecutionResponse()
    answer.workflow_execution_info.memo.fields["who"].CopyFrom(json_payload('"me"'))
    answer.workflow_execution_info.search_attributes.indexed_fields["n"].CopyFrom(json_payload("1"))
    shown = output.message(answer)["workflowExecutionInfo"]
    assert shown["memo"] == {"fields": {"who": "me"}}
    assert shown["searchAttributes"] == {"indexedFields": {"n": 1}}
    json.dumps(shown)


def test_repeated_payloads_in_a_failure_are_decoded():
    problem = failed("x")
    problem.application_failure_info.details.CopyFrom(json_payloads("1", "2"))
    assert output.message(problem)["applicationFailureInfo"]["details"] == [1, 2]


def _flags(**changes: object) -> dict[str, object]:
    flags: dict[str, object] = {
        "namespaces": (),
        "search_attribute": (),
        "sqlite_pragma": (),
        "dynamic_config_value": (),
    }
    return flags | changes


def test_server_flags_become_options():
    options = options_of(
        _flags(
            namespaces=("orders", "default"),
            search_attribute=("Customer=Keyword",),
            dynamic_config_value=(
                "limit.historyCount.suggestContinueAsNew=50",
                'a.b="0s"',
                "c=[true]",
            ),
            port=0,
        )
    )
    assert options.namespaces == ("default", "orders")
    assert options.search_attributes == {"Customer": "Keyword"}
    assert options.dynamic_config == {
        "limit.historyCount.suggestContinueAsNew": 50,
        "a.b": "0s",
        "c": [True],
    }


def test_server_flags_without_effect_are_named():
    assert without_effect(options_of(_flags(port=0, headless=True))) == []
    options = options_of(_flags(ui_port=8233, metrics_port=9090, sqlite_pragma=("cache_size=1",)))
    notes = without_effect(options)
    assert len(notes) == 3
    assert all(note.startswith("no effect in this version: --") for note in notes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"port": 70_000}, "--port is 70000; a port is between 0 and 65535"),
        ({"search_attribute": ("A=Number",)}, "the type must be one of Text, Keyword"),
        ({"search_attribute": ("A",)}, "'A' is not KEY=VALUE"),
        ({"dynamic_config_value": ("a=0s",)}, "a text needs its own quotes: a='\"text\"'"),
        ({"namespaces": ("",)}, "--namespace must not be empty"),
    ],
)
def test_wrong_server_flags_are_explained(changes: dict[str, object], message: str):
    with pytest.raises(click.UsageError) as caught:
        options_of(_flags(**changes))
    assert message in str(caught.value)
