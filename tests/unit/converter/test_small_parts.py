"""What is easily lost: hints that are not given, failures without attributes, converters that are replaced."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from perdure.common import RawValue, SearchAttributeKey
from perdure.common.signatures import UNSET
from perdure.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    FailureConverter,
    JSONPlainPayloadConverter,
    PayloadCodec,
    PayloadConverter,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
    encode_search_attribute_values,
    encode_typed_search_attribute_value,
    value_to_type,
)
from perdure.exceptions import ApplicationError, ApplicationErrorCategory
from perdure.wire.api import common as common_pb
from perdure.wire.api import failure as failure_pb

CONVERTER = PayloadConverter.default
CONTEXT = WorkflowSerializationContext(namespace="n", workflow_id="w")


class Asked(DefaultPayloadConverter):
    """Remembers the hints that it was asked with."""

    def __init__(self) -> None:
        super().__init__()
        self.hints: list[Any] = []

    def from_payloads(
        self, payloads: Sequence[common_pb.Payload], type_hints: list[type] | None = None
    ) -> list[Any]:
        self.hints.append(type_hints)
        return super().from_payloads(payloads, type_hints)


def test_a_hint_that_is_not_given_is_no_list() -> None:
    converter = Asked()
    payload = converter.to_payload(1)
    assert converter.from_payload(payload) == 1
    assert converter.from_payload(payload, float) == 1.0
    assert converter.from_payloads_wrapper(common_pb.Payloads(payloads=[payload])) == [1]
    assert converter.from_payloads_wrapper(common_pb.Payloads()) == []
    assert converter.hints == [None, [float], None], "an empty message is not converted"


async def test_hints_of_memo_fields() -> None:
    converter = DataConverter(payload_converter_class=Asked)
    asked = converter.payload_converter
    assert isinstance(asked, Asked)
    memo = await converter.encode_memo({"a": 1})
    assert await converter.decode_memo_field(memo, "a", UNSET, None) == 1
    assert await converter.decode_memo_field(memo, "a", UNSET, float) == 1.0
    assert await converter.decode_memo_field(memo, "b", None, float) is None
    assert asked.hints == [None, [float]]


def test_a_plain_failure_asks_no_converter() -> None:
    asked = Asked()
    failure = failure_pb.Failure(message="m")
    failure.cause.message = "why"
    FailureConverter.default.from_failure(failure, asked)
    assert asked.hints == []
    failure.cause.encoded_attributes.CopyFrom(CONVERTER.to_payload({"message": "hidden"}))
    error = FailureConverter.default.from_failure(failure, asked)
    assert asked.hints == [None]
    assert str(error.__cause__) == "hidden"
    assert failure.cause.message == "why"


async def test_without_a_codec_payloads_stay_as_they_are() -> None:
    converter = DataConverter()
    payloads = CONVERTER.to_payloads([1, "a"])
    for change in (converter.encode_payloads, converter.decode_payloads):
        found = await change(payloads)
        assert found == payloads
        assert found is not payloads
    assert await converter.decode(payloads) == [1, "a"]
    assert await converter.encode([1, "a"]) == payloads


async def test_failures_without_a_codec() -> None:
    converter = DataConverter()
    failure = failure_pb.Failure()
    await converter.encode_failure(ApplicationError("m", 1), failure)
    before = failure_pb.Failure()
    before.CopyFrom(failure)
    error: Any = await converter.decode_failure(failure)
    assert (error.message, list(error.details)) == ("m", [1])
    assert error.failure is failure
    assert failure == before


class Counting(PayloadCodec):
    """Marks payloads, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def encode(self, payloads: Sequence[common_pb.Payload]) -> list[common_pb.Payload]:
        self.asked += 1
        assert isinstance(payloads, list) or payloads
        return [common_pb.Payload(data=b"<" + each.data + b">") for each in payloads]

    async def decode(self, payloads: Sequence[common_pb.Payload]) -> list[common_pb.Payload]:
        self.asked += 1
        return [
            common_pb.Payload(metadata={"encoding": b"json/plain"}, data=each.data[1:-1])
            for each in payloads
        ]


@pytest.mark.parametrize("encodes", [True, False])
@pytest.mark.parametrize("details", [(), (1, 2)])
async def test_a_codec_sees_what_a_failure_has_and_nothing_else(
    encodes: bool, details: tuple[int, ...]
) -> None:
    failure = failure_pb.Failure()
    error = ApplicationError("outer", *details)
    error.__cause__ = ApplicationError("inner", *details)
    DefaultFailureConverter(encode_common_attributes=encodes).to_failure(error, CONVERTER, failure)
    before = failure_pb.Failure()
    before.CopyFrom(failure)
    codec = Counting()
    await codec.encode_failure(failure)
    assert codec.asked == 2 * (encodes + bool(details))
    for link in (failure, failure.cause):
        assert link.HasField("encoded_attributes") == encodes
        assert link.application_failure_info.HasField("details") == bool(details)
        assert link.encoded_attributes.data.startswith(b"<") == encodes
    await codec.decode_failure(failure)
    assert failure == before
    bare = failure_pb.Failure(message="m")
    await codec.encode_failure(bare)
    assert bare == failure_pb.Failure(message="m")


class Tagged(EncodingPayloadConverter, WithSerializationContext):
    def __init__(self, tag: str = "") -> None:
        self.tag = tag

    @property
    def encoding(self) -> str:
        return "tagged"

    def to_payload(self, value: Any) -> common_pb.Payload | None:
        return common_pb.Payload(metadata={"encoding": b"tagged"}, data=self.tag.encode())

    def from_payload(self, payload: common_pb.Payload, type_hint: type | None = None) -> Any:
        return payload.data.decode()

    def with_context(self, context: SerializationContext) -> Tagged:
        assert isinstance(context, WorkflowSerializationContext)
        return self if self.tag else Tagged(context.workflow_id)


class Own(CompositePayloadConverter):
    def __init__(self) -> None:
        super().__init__(JSONPlainPayloadConverter())


def test_converters_that_are_replaced_are_asked_anew() -> None:
    converter = Own()
    assert converter.get_converters_with_context(CONTEXT) is None
    assert converter.with_context(CONTEXT) is converter
    plain = JSONPlainPayloadConverter()
    converter.converters = {b"tagged": Tagged(), b"json/plain": plain}
    found = converter.get_converters_with_context(CONTEXT)
    assert found is not None
    assert [type(each) for each in found] == [Tagged, JSONPlainPayloadConverter]
    assert found[1] is plain
    made = converter.with_context(CONTEXT)
    assert type(made) is Own
    assert made.to_payload("x").data == b"w"
    assert converter.to_payload("x").data == b""
    assert made.with_context(CONTEXT) is made, "nothing changes any more"
    converter.converters = {b"json/plain": plain}
    assert converter.with_context(CONTEXT) is converter
    converter.converters = {b"tagged": Tagged()}
    assert converter.with_context(CONTEXT) is not converter, "as many as before, but others"
    growing: dict[bytes, EncodingPayloadConverter] = {b"json/plain": plain}
    converter.converters = growing
    assert converter.with_context(CONTEXT) is converter
    growing[b"tagged"] = Tagged()
    assert converter.with_context(CONTEXT) is not converter


def test_raw_values_pass_among_others() -> None:
    payload = common_pb.Payload(metadata={"encoding": b"mine"}, data=b"x")
    made = CONVERTER.to_payloads([1, RawValue(payload), "a"])
    assert made[1] is payload
    hints: Any = [int, RawValue, str]
    assert CONVERTER.from_payloads(made, hints) == [1, RawValue(payload), "a"]


def test_the_place_of_what_is_wrong_is_told() -> None:
    broken = common_pb.Payload(metadata={"encoding": b"json/plain"}, data=b"{")
    with pytest.raises(RuntimeError, match="Payload at index 1 with encoding json/plain could not"):
        CONVERTER.from_payloads([CONVERTER.to_payload(1), broken])


def test_json_without_an_encoder_of_ones_own() -> None:
    converter = JSONPlainPayloadConverter(encoder=None)
    payload = converter.to_payload({"b": [1], "a": None})
    assert payload is not None
    assert payload.data == b'{"a":null,"b":[1]}'
    assert converter.from_payload(payload) == {"a": None, "b": [1]}


class Strange(dict[str, int]):
    """A mapping with an annotation that means nothing."""

    missing: Nowhere  # type: ignore[name-defined]  # noqa: F821


def test_only_typed_dicts_are_asked_for_the_types_of_their_keys() -> None:
    hint: Any = Strange
    assert value_to_type(hint, {"a": 1}) == {"a": 1}


def test_messages_as_json_have_their_fields_in_order() -> None:
    payload = CONVERTER.to_payload(common_pb.WorkflowExecution(workflow_id="w", run_id="r"))
    assert payload.data == b'{"runId":"r","workflowId":"w"}'


@pytest.mark.parametrize(("number", "expected"), [(0, 0), (1, 1), (99, 0)])
def test_categories_of_later_versions(number: int, expected: int) -> None:
    failure = failure_pb.Failure(message="m")
    failure.application_failure_info.category = number  # pyright: ignore[reportAttributeAccessIssue]
    error: Any = FailureConverter.default.from_failure(failure, CONVERTER)
    assert error.category is ApplicationErrorCategory(expected)


# Search attributes ----------------------------------------------------------------------------------

MOMENT = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("x", "Search attribute values must be lists"),
        ((1, 2), "Search attribute values must be lists"),
        ([object()], "Search attribute value of type object not one of str, int, float, bool, or"),
        ([1, None], "Search attribute value of type NoneType not one of"),
        ([1, "x"], "must have the same type for the same key"),
        ([1, 2.0], "must have the same type for the same key"),
        ([1, 1, True], "must have the same type for the same key"),
    ],
)
def test_untyped_values_that_are_refused(values: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        encode_search_attribute_values(values)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (SearchAttributeKey.for_int("I"), "x", "not suitable for indexed value type .*INT.* of I"),
        (SearchAttributeKey.for_keyword_list("L"), 5, "not suitable for indexed value type"),
        (SearchAttributeKey.for_keyword_list("L"), ["a", 1], "All values of a keyword list must"),
        (SearchAttributeKey.for_keyword_list("L"), [1, "a"], "All values of a keyword list must"),
        (SearchAttributeKey.for_datetime("D"), "2026", "not suitable"),
    ],
)
def test_typed_values_that_are_refused(key: Any, value: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        encode_typed_search_attribute_value(key, value)


@pytest.mark.parametrize(
    ("key", "value", "data", "kind"),
    [
        (SearchAttributeKey.for_text("T"), "a b", b'"a b"', b"Text"),
        (SearchAttributeKey.for_keyword("K"), "a", b'"a"', b"Keyword"),
        (SearchAttributeKey.for_int("I"), 5, b"5", b"Int"),
        (SearchAttributeKey.for_float("F"), 1.5, b"1.5", b"Double"),
        (SearchAttributeKey.for_bool("B"), False, b"false", b"Bool"),
        (SearchAttributeKey.for_datetime("D"), MOMENT, b'"2026-11-22T01:02:03+00:00"', b"Datetime"),
        (SearchAttributeKey.for_keyword_list("L"), ["a", "b"], b'["a","b"]', b"KeywordList"),
        (SearchAttributeKey.for_keyword_list("L"), ("a",), b'["a"]', b"KeywordList"),
        (SearchAttributeKey.for_keyword_list("L"), [], b"[]", b"KeywordList"),
    ],
)
def test_typed_values_as_they_travel(key: Any, value: Any, data: bytes, kind: bytes) -> None:
    payload = encode_typed_search_attribute_value(key, value)
    assert payload.data == data
    assert dict(payload.metadata) == {"encoding": b"json/plain", "type": kind}
