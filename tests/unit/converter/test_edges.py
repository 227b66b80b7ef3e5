"""Order of encodings, codecs of several payloads, memos, contexts of failures, search attributes at their edges."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from perdure.common import (
    RawValue,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
)
from perdure.converter import (
    BinaryPlainPayloadConverter,
    BinaryProtoPayloadConverter,
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverter,
    JSONPlainPayloadConverter,
    JSONProtoPayloadConverter,
    PayloadCodec,
    PayloadConverter,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
    decode_search_attributes,
    decode_typed_search_attributes,
    encode_search_attribute_values,
    encode_search_attributes,
    encode_typed_search_attribute_value,
)
from perdure.converter.search_attributes import (
    decode_search_attribute_value,
    encode_maybe_typed_search_attributes,
)
from perdure.exceptions import ApplicationError, CancelledError, TimeoutError, TimeoutType  # noqa: A004
from perdure.wire.api import common as common_pb
from perdure.wire.api import failure as failure_pb

CONVERTER = PayloadConverter.default
MOMENT = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
CONTEXT = WorkflowSerializationContext(namespace="n", workflow_id="w")


@dataclasses.dataclass
class Order:
    id: uuid.UUID
    at: datetime
    tags: set[str]


@pytest.mark.parametrize(
    ("value", "encoding", "data"),
    [
        (None, b"binary/null", b""),
        (b"\x00\xff", b"binary/plain", b"\x00\xff"),
        (common_pb.WorkflowType(name="T"), b"json/protobuf", b'{"name":"T"}'),
        ("text", b"json/plain", b'"text"'),
        ({"b": 1, "a": [1, 2.5]}, b"json/plain", b'{"a":[1,2.5],"b":1}'),
        (MOMENT, b"json/plain", b'"2026-11-22T01:02:03+00:00"'),
        (uuid.UUID(int=5), b"json/plain", b'"00000000-0000-0000-0000-000000000005"'),
        (Order(uuid.UUID(int=1), MOMENT, {"x"}), b"json/plain",
         b'{"at":"2026-11-22T01:02:03+00:00","id":"00000000-0000-0000-0000-000000000001","tags":["x"]}'),
        (range(3), b"json/plain", b"[0,1,2]"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_each_value_has_its_encoding(value: Any, encoding: bytes, data: bytes) -> None:
    payload = CONVERTER.to_payload(value)
    assert (payload.metadata["encoding"], payload.data) == (encoding, data)
    expected: Any = list(value) if isinstance(value, range) else value
    hint: Any = list[int] if isinstance(value, range) else getattr(value, "__class__", None)
    assert CONVERTER.from_payload(payload, hint) == expected


def test_the_first_converter_that_takes_a_value_writes_it() -> None:
    message = common_pb.WorkflowType(name="T")
    for first, second in (
        (JSONProtoPayloadConverter(), BinaryProtoPayloadConverter()),
        (BinaryProtoPayloadConverter(), JSONProtoPayloadConverter()),
    ):
        both = CompositePayloadConverter(first, second)
        payload = both.to_payload(message)
        assert payload.metadata["encoding"].decode() == first.encoding
        assert payload.metadata["messageType"] == b"temporal.api.common.v1.WorkflowType"
        assert both.from_payload(payload) == message
        assert both.from_payload(second.to_payload(message) or payload) == message
    with pytest.raises(RuntimeError, match="index 1 of type"):
        CompositePayloadConverter(BinaryPlainPayloadConverter()).to_payloads([b"x", 1])


def test_unknown_fields_of_messages_are_refused_unless_ignored() -> None:
    payload = CONVERTER.to_payload(common_pb.WorkflowType(name="T"))
    payload.data = b'{"name":"T","later":1}'
    assert JSONProtoPayloadConverter(ignore_unknown_fields=True).from_payload(payload).name == "T"
    with pytest.raises(RuntimeError, match="Failed parsing"):
        JSONProtoPayloadConverter().from_payload(payload)


def test_json_with_an_encoder_and_a_decoder_of_ones_own() -> None:
    class Upper(json.JSONEncoder):
        def default(self, o: Any) -> Any:
            return f"<{o}>"

    class Floats(json.JSONDecoder):
        def __init__(self, **options: Any) -> None:
            super().__init__(parse_int=float, **options)

    converter = JSONPlainPayloadConverter(encoder=Upper, decoder=Floats)
    payload = converter.to_payload([1j, 2])
    assert payload is not None
    assert payload.data == b'["<1j>",2]'
    assert type(converter.from_payload(payload)[1]) is float
    with pytest.raises(TypeError):
        JSONPlainPayloadConverter(encoder=None).to_payload(MOMENT)
    with pytest.raises(RuntimeError, match="Failed parsing"):
        converter.from_payload(common_pb.Payload(data=b"\xff"))


class Joining(PayloadCodec):
    """Makes one payload of several."""

    async def encode(self, payloads: Sequence[common_pb.Payload]) -> list[common_pb.Payload]:
        joined = common_pb.Payloads(payloads=payloads).SerializeToString()
        return [common_pb.Payload(metadata={"encoding": b"joined"}, data=joined)]

    async def decode(self, payloads: Sequence[common_pb.Payload]) -> list[common_pb.Payload]:
        (joined,) = payloads
        return list(common_pb.Payloads.FromString(joined.data).payloads)


async def test_a_codec_may_join_payloads() -> None:
    converter = DataConverter(payload_codec=Joining())
    wrapper = await converter.encode_wrapper([1, "a"])
    assert len(wrapper.payloads) == 1
    assert await converter.decode_wrapper(wrapper) == [1, "a"]
    assert await converter.decode_wrapper(common_pb.Payloads()) == []
    codec = Joining()
    await codec.decode_wrapper(wrapper)
    assert CONVERTER.from_payloads(wrapper.payloads) == [1, "a"]
    await codec.encode_wrapper(wrapper)
    assert wrapper.payloads[0].metadata["encoding"] == b"joined"


@pytest.mark.parametrize(
    ("error", "kind", "field"),
    [
        (ApplicationError("m", 1, 2), "application_failure_info", "details"),
        (CancelledError("m", 1, 2), "canceled_failure_info", "details"),
        (
            TimeoutError("m", type=TimeoutType.HEARTBEAT, last_heartbeat_details=[1, 2]),
            "timeout_failure_info",
            "last_heartbeat_details",
        ),
    ],
    ids=["application", "cancelled", "timeout"],
)
async def test_payloads_of_failures_and_their_causes_pass_the_codec(
    error: Any, kind: str, field: str
) -> None:
    outer = ApplicationError("outer")
    outer.__cause__ = error
    converter = DataConverter(payload_codec=Joining())
    failure = failure_pb.Failure()
    await converter.encode_failure(outer, failure)
    (payload,) = getattr(getattr(failure.cause, kind), field).payloads
    assert payload.metadata["encoding"] == b"joined"
    again: Any = await converter.decode_failure(failure)
    values = getattr(again.cause, field)
    assert list(values) == [1, 2]
    plain = failure_pb.Failure()
    plain.CopyFrom(failure)
    await Joining().decode_failure(plain)
    assert len(getattr(getattr(plain.cause, kind), field).payloads) == 2
    await Joining().encode_failure(plain)
    assert plain == failure


async def test_a_reset_s_heartbeat_details_pass_the_codec() -> None:
    failure = failure_pb.Failure()
    details = failure.reset_workflow_failure_info.last_heartbeat_details
    details.payloads.extend(CONVERTER.to_payloads([1, 2]))
    await Joining().encode_failure(failure)
    assert [each.metadata["encoding"] for each in details.payloads] == [b"joined"]


async def test_memo_fields() -> None:
    converter = DataConverter(payload_codec=Joining())
    memo = await converter.encode_memo({"a": 1, "none": None})
    assert await converter.decode_memo(memo) == {"a": 1, "none": None}
    assert type(await converter.decode_memo_field(memo, "a", None, float)) is float
    assert type(await converter.decode_memo_field(memo, "a", None, None)) is int
    assert isinstance(await converter.decode_memo_field(memo, "a", None, RawValue), RawValue)
    with pytest.raises(KeyError, match="Memo does not have a value for key b"):
        from perdure.common.signatures import UNSET

        await converter.decode_memo_field(memo, "b", UNSET, None)


class ContextualFailures(DefaultFailureConverter, WithSerializationContext):
    tag = ""

    def with_context(self, context: SerializationContext) -> ContextualFailures:
        made = ContextualFailures()
        made.tag = context.workflow_id if isinstance(context, WorkflowSerializationContext) else "?"
        return made


def test_failure_converters_get_the_context_and_the_rest_stays() -> None:
    base = DataConverter(failure_converter_class=ContextualFailures, payload_codec=Joining())
    made = base.with_context(CONTEXT)
    assert isinstance(made.failure_converter, ContextualFailures)
    assert made.failure_converter.tag == "w"
    assert made.payload_converter is base.payload_converter
    assert made.payload_codec is base.payload_codec
    assert made.failure_converter_class is ContextualFailures


def test_either_kind_of_search_attributes_or_none() -> None:
    typed = TypedSearchAttributes([SearchAttributePair(SearchAttributeKey.for_int("I"), 1)])
    api = common_pb.SearchAttributes()
    encode_maybe_typed_search_attributes(None, None, api)
    encode_maybe_typed_search_attributes({}, TypedSearchAttributes([]), api)
    assert not api.indexed_fields
    encode_maybe_typed_search_attributes({"A": ["x"]}, None, api)
    encode_maybe_typed_search_attributes(None, typed, api)
    assert decode_search_attributes(api) == {"A": ["x"], "I": [1]}


def test_untyped_values() -> None:
    for values in (["a", "b"], [1, 2], [1.5], [True, False], []):
        api = common_pb.SearchAttributes()
        encode_search_attributes({"A": values}, api)
        assert decode_search_attributes(api) == {"A": values}
    assert encode_search_attribute_values([MOMENT]).data == b'["2026-11-22T01:02:03+00:00"]'
    with pytest.raises(ValueError, match="Timezone must be present"):
        encode_search_attribute_values([datetime(2026, 1, 1)])  # noqa: DTZ001 - refused
    with pytest.raises(TypeError, match="same type"):
        encode_search_attribute_values([True, 1])
    payload = CONVERTER.to_payload("single")
    api = common_pb.SearchAttributes(indexed_fields={"A": payload})
    assert decode_search_attributes(api) == {"A": ["single"]}


def test_typed_values_of_later_servers() -> None:
    def typed(kind: str, value: Any) -> list[Any]:
        payload = CONVERTER.to_payload(value)
        payload.metadata["type"] = kind.encode()
        api = common_pb.SearchAttributes(indexed_fields={"A": payload})
        return [pair.value for pair in decode_typed_search_attributes(api)]

    assert typed("KeywordList", ["a"]) == [["a"]]
    assert typed("KeywordList", 5) == []
    assert typed("Keyword", []) == []
    assert typed("Datetime", MOMENT.isoformat()) == [MOMENT]
    assert typed("Double", [2]) == [2.0]
    moment = CONVERTER.to_payload(MOMENT.isoformat())
    assert decode_search_attribute_value(moment) == MOMENT.isoformat()
    number = encode_typed_search_attribute_value(SearchAttributeKey.for_int("I"), 5)
    assert number.metadata["type"] == b"Int"
    assert decode_search_attribute_value(number) == 5
