"""What the comparison with the official SDK (tests/conformance/converter) does not show: errors, codecs, contexts."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

import nexusrpc
import pytest

from perdure.common import RawValue, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from perdure.converter import (
    BinaryProtoPayloadConverter,
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    FailureConverter,
    JSONPlainPayloadConverter,
    JSONTypeConverter,
    PayloadCodec,
    PayloadConverter,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
    create_payload_validation_error,
    decode_search_attributes,
    decode_typed_search_attributes,
    encode_search_attributes,
    encode_typed_search_attribute_value,
    value_to_type,
)
from perdure.converter.search_attributes import (
    decode_search_attribute_value,
    encode_maybe_typed_search_attributes,
)
from perdure.exceptions import ApplicationError
from perdure.wire.api import common as common_pb
from perdure.wire.api import failure as failure_pb

CONVERTER = PayloadConverter.default


class Reverse(PayloadCodec):
    """Turns the bytes round and wraps the encoding."""

    async def encode(self, payloads: Sequence[common_pb.Payload]) -> list[common_pb.Payload]:
        return [
            common_pb.Payload(metadata={"encoding": b"reversed"}, data=p.SerializeToString()[::-1])
            for p in payloads
        ]

    async def decode(self, payloads: Sequence[common_pb.Payload]) -> list[common_pb.Payload]:
        return [common_pb.Payload.FromString(p.data[::-1]) for p in payloads]


class TestPayloads:
    def test_unknown_encoding(self) -> None:
        with pytest.raises(KeyError, match="Unknown payload encoding zip"):
            CONVERTER.from_payload(common_pb.Payload(metadata={"encoding": b"zip"}))
        with pytest.raises(KeyError, match="<unknown>"):
            CONVERTER.from_payload(common_pb.Payload())

    @pytest.mark.parametrize(
        ("encoding", "data"),
        [
            (b"json/plain", b"{"),
            (b"binary/null", b"x"),
            (b"json/protobuf", b"{}"),
            (b"binary/protobuf", b"{}"),
        ],
    )
    def test_malformed(self, encoding: bytes, data: bytes) -> None:
        payload = common_pb.Payload(metadata={"encoding": encoding}, data=data)
        with pytest.raises(RuntimeError, match="index 0 with encoding"):
            CONVERTER.from_payload(payload)

    @pytest.mark.parametrize("encoding", [b"json/protobuf", b"binary/protobuf"])
    def test_malformed_messages(self, encoding: bytes) -> None:
        name = common_pb.Payload.DESCRIPTOR.full_name.encode()
        metadata = {"encoding": encoding, "messageType": name}
        with pytest.raises(RuntimeError) as caught:
            CONVERTER.from_payload(common_pb.Payload(metadata=metadata, data=b"\xff["))
        assert "Failed parsing" in str(caught.value.__cause__)

    def test_values_that_json_can_not_hold(self) -> None:
        with pytest.raises(TypeError):
            CONVERTER.to_payload(object())

    def test_no_converter_takes_it(self) -> None:
        only_messages = CompositePayloadConverter(BinaryProtoPayloadConverter())
        with pytest.raises(RuntimeError, match="index 0 of type <class 'int'>"):
            only_messages.to_payload(1)
        message = common_pb.Payload(data=b"x")
        assert only_messages.from_payload(only_messages.to_payload(message)) == message

    def test_raw_values_pass(self) -> None:
        payload = common_pb.Payload(metadata={"encoding": b"mine"}, data=b"x")
        assert CONVERTER.to_payload(RawValue(payload)) == payload
        assert CONVERTER.from_payload(payload, RawValue) == RawValue(payload)

    def test_fewer_hints_than_payloads(self) -> None:
        payloads = CONVERTER.to_payloads([1, 2])
        assert CONVERTER.from_payloads(payloads, [float]) == [1.0, 2]
        assert CONVERTER.from_payloads_wrapper(None) == []
        assert CONVERTER.from_payloads_wrapper(common_pb.Payloads(payloads=payloads)) == [1, 2]

    def test_objects_with_a_dict_method(self) -> None:
        class Model:
            def dict(self) -> dict[str, int]:
                return {"a": 1}

        assert CONVERTER.to_payload(Model()).data == b'{"a":1}'

    def test_pydantic_like_models_warn(self) -> None:
        class Model:
            @classmethod
            def parse_obj(cls, value: Any) -> Model:
                made = cls()
                made.value = value
                return made

            value: Any = None

            def dict(self) -> dict[str, int]:
                return {"a": 1}

        with pytest.warns(UserWarning, match="Pydantic"):
            payload = CONVERTER.to_payload(Model())
        assert CONVERTER.from_payload(payload, Model).value == {"a": 1}
        with pytest.raises(TypeError, match="not dict"):
            value_to_type(Model, 5)

    def test_custom_type_converter_is_asked_first(self) -> None:
        class Complex(JSONTypeConverter):
            def to_typed_value(self, hint: type, value: Any) -> Any:
                return complex(*value) if hint is complex else JSONTypeConverter.Unhandled

        converter = JSONPlainPayloadConverter(custom_type_converters=[Complex()], encoding="j")
        payload = converter.to_payload([[1, 2]])
        assert payload is not None
        assert payload.metadata["encoding"] == b"j"
        assert converter.from_payload(payload, list[complex]) == [1 + 2j]


T = TypeVar("T")


@dataclasses.dataclass
class Box(Generic[T]):
    item: T


class TestTypes:
    def test_more_than_the_common_rules(self) -> None:
        assert value_to_type(Annotated[int, "positive"], 1) == 1
        assert value_to_type(object, [1]) == [1]
        assert value_to_type(Box[int], {"item": 1}) == Box(1)

    def test_unknown_kind_of_hint(self) -> None:
        with pytest.raises(TypeError, match="Unserializable"):
            value_to_type(complex, 1)


class TestDataConverter:
    async def test_codec_round_trip(self) -> None:
        converter = DataConverter(payload_codec=Reverse())
        wrapper = await converter.encode_wrapper(["a", None])
        assert wrapper.payloads[0].metadata["encoding"] == b"reversed"
        assert await converter.decode_wrapper(wrapper, [str, str]) == ["a", None]
        assert await converter.decode_wrapper(None) == []

    async def test_failures_pass_the_codec_and_stay_unchanged_when_read(self) -> None:
        converter = DataConverter(
            payload_codec=Reverse(),
            failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
        )
        error = ApplicationError("secret", "detail")
        error.__cause__ = ApplicationError("inner secret", "inner detail")
        failure = failure_pb.Failure()
        await converter.encode_failure(error, failure)
        assert b"secret" not in failure.SerializeToString()
        before = failure.SerializeToString()
        read = await converter.decode_failure(failure)
        assert failure.SerializeToString() == before
        assert isinstance(read, ApplicationError)
        assert (read.message, list(read.details)) == ("secret", ["detail"])
        assert isinstance(read.cause, ApplicationError)
        assert read.cause.message == "inner secret"

    def test_unreadable_attributes_show_what_is_there(self) -> None:
        failure = failure_pb.Failure(message="Encoded failure")
        failure.application_failure_info.SetInParent()
        failure.encoded_attributes.metadata["encoding"] = b"unknown"
        error = FailureConverter.default.from_failure(failure, CONVERTER)
        assert str(error) == "Encoded failure"

    def test_an_error_that_was_read_is_written_as_it_was(self) -> None:
        failure = failure_pb.Failure(message="m", source="JavaSDK", stack_trace="at x")
        failure.application_failure_info.type = "T"
        error = FailureConverter.default.from_failure(failure, CONVERTER)
        again = failure_pb.Failure()
        FailureConverter.default.to_failure(error, CONVERTER, again)
        assert again == failure

    def test_kinds_and_numbers_of_later_versions(self) -> None:
        failure = failure_pb.Failure(message="m")
        failure.activity_failure_info.retry_state = 99  # type: ignore[assignment]
        error: Any = FailureConverter.default.from_failure(failure, CONVERTER)
        assert error.retry_state is None
        bare = FailureConverter.default.from_failure(failure_pb.Failure(), CONVERTER)
        assert str(bare) == "Failure error"

    async def test_memo(self) -> None:
        converter = DataConverter(payload_codec=Reverse())
        memo = await converter.encode_memo({"a": 1, "raw": CONVERTER.to_payload(2)})
        assert memo.fields["raw"].data == b"2"
        assert await converter.decode_memo_field(memo, "a", None, float) == 1.0
        assert await converter.decode_memo_field(memo, "b", 5, None) == 5
        only = await converter.encode_memo({"a": 1})
        assert await converter.decode_memo(only) == {"a": 1}

    def test_validation_error(self) -> None:
        error = create_payload_validation_error({"field": "a"})
        assert (error.type, error.non_retryable, list(error.details)) == (
            "PayloadValidationError",
            True,
            [{"field": "a"}],
        )
        assert list(create_payload_validation_error(None).details) == []


class Tagged(EncodingPayloadConverter, WithSerializationContext):
    """Writes the workflow's id beside every value."""

    def __init__(self, tag: str = "") -> None:
        self.tag = tag

    @property
    def encoding(self) -> str:
        return "tagged"

    def to_payload(self, value: Any) -> common_pb.Payload | None:
        return common_pb.Payload(
            metadata={"encoding": b"tagged"}, data=f"{self.tag}:{value}".encode()
        )

    def from_payload(self, payload: common_pb.Payload, type_hint: type | None = None) -> Any:
        return payload.data.decode()

    def with_context(self, context: SerializationContext) -> Tagged:
        assert isinstance(context, WorkflowSerializationContext)
        return Tagged(context.workflow_id)


class TaggedPayloadConverter(CompositePayloadConverter):
    def __init__(self) -> None:
        super().__init__(Tagged())


class TestContexts:
    CONTEXT = WorkflowSerializationContext(namespace="n", workflow_id="w")

    async def test_the_context_reaches_encodings(self) -> None:
        base = DataConverter(payload_converter_class=TaggedPayloadConverter)
        with_context = base.with_context(self.CONTEXT)
        assert (await with_context.encode(["x"]))[0].data == b"w:x"
        assert (await base.encode(["x"]))[0].data == b":x"

    def test_converters_that_do_not_care_stay_the_same(self) -> None:
        assert DataConverter.default.with_context(self.CONTEXT) is DataConverter.default
        plain = DefaultPayloadConverter()
        assert plain.with_context(self.CONTEXT) is plain

    async def test_codecs_too(self) -> None:
        class Keyed(Reverse, WithSerializationContext):
            key = ""

            def with_context(self, context: SerializationContext) -> Keyed:
                assert isinstance(context, WorkflowSerializationContext)
                made = Keyed()
                made.key = context.workflow_id
                return made

        converter = DataConverter(payload_codec=Keyed()).with_context(self.CONTEXT)
        assert isinstance(converter.payload_codec, Keyed)
        assert converter.payload_codec.key == "w"


class TestSearchAttributes:
    MOMENT = datetime(2026, 11, 22, tzinfo=UTC)
    ALL = TypedSearchAttributes(
        [
            SearchAttributePair(SearchAttributeKey.for_text("Text"), "a b"),
            SearchAttributePair(SearchAttributeKey.for_keyword("Keyword"), "k"),
            SearchAttributePair(SearchAttributeKey.for_int("Int"), 5),
            SearchAttributePair(SearchAttributeKey.for_float("Double"), 1.5),
            SearchAttributePair(SearchAttributeKey.for_bool("Bool"), True),
            SearchAttributePair(SearchAttributeKey.for_datetime("Datetime"), MOMENT),
            SearchAttributePair(SearchAttributeKey.for_keyword_list("List"), ["a", "b"]),
        ]
    )

    def test_typed_round_trip(self) -> None:
        api = common_pb.SearchAttributes()
        encode_search_attributes(self.ALL, api)
        assert api.indexed_fields["List"].metadata["type"] == b"KeywordList"
        assert decode_typed_search_attributes(api) == self.ALL
        assert decode_search_attributes(api)["Datetime"] == [self.MOMENT]

    def test_untyped(self) -> None:
        api = common_pb.SearchAttributes()
        encode_search_attributes({"A": ["x"], "B": [1, 2], "C": [self.MOMENT]}, api)
        assert decode_search_attributes(api)["B"] == [1, 2]
        assert len(decode_typed_search_attributes(api)) == 0

    def test_none_has_no_type(self) -> None:
        payload = encode_typed_search_attribute_value(SearchAttributeKey.for_int("Int"), None)
        assert dict(payload.metadata) == {"encoding": b"binary/null"}

    @pytest.mark.parametrize(
        ("key", "value", "error"),
        [
            (SearchAttributeKey.for_int("I"), "x", TypeError),
            (SearchAttributeKey.for_keyword_list("L"), [1], TypeError),
            (SearchAttributeKey.for_datetime("D"), datetime(2026, 1, 1), ValueError),  # noqa: DTZ001
        ],
    )
    def test_wrong_values(self, key: Any, value: Any, error: type[Exception]) -> None:
        with pytest.raises(error):
            encode_typed_search_attribute_value(key, value)

    @pytest.mark.parametrize("values", ["x", [1, "x"], [object()]])
    def test_wrong_untyped_values(self, values: Any) -> None:
        with pytest.raises(TypeError):
            encode_search_attributes({"A": values}, common_pb.SearchAttributes())

    def test_not_both(self) -> None:
        with pytest.raises(ValueError, match="both"):
            encode_maybe_typed_search_attributes(
                {"A": ["x"]}, self.ALL, common_pb.SearchAttributes()
            )

    def test_what_servers_do_to_values(self) -> None:
        api = common_pb.SearchAttributes()
        for name, kind, value in (
            ("Whole", b"Double", 3),
            ("Wrapped", b"Int", [4]),
            ("Several", b"Int", [4, 5]),
            ("Misfit", b"Int", "x"),
            ("Unknown", b"Vector", 1),
        ):
            payload = CONVERTER.to_payload(value)
            payload.metadata["type"] = kind
            api.indexed_fields[name].CopyFrom(payload)
        found = {pair.key.name: pair.value for pair in decode_typed_search_attributes(api)}
        assert found == {"Whole": 3.0, "Wrapped": 4}
        assert isinstance(found["Whole"], float)

    def test_group_values(self) -> None:
        payload = encode_typed_search_attribute_value(
            SearchAttributeKey.for_datetime("D"), self.MOMENT
        )
        assert decode_search_attribute_value(payload) == self.MOMENT
        assert decode_search_attribute_value(CONVERTER.to_payload("Running")) == "Running"


def test_nexus_handler_errors_both_ways() -> None:
    error = nexusrpc.HandlerError(
        "bad", type=nexusrpc.HandlerErrorType.BAD_REQUEST, retryable_override=True
    )
    error.__cause__ = ApplicationError("why")
    failure = failure_pb.Failure()
    FailureConverter.default.to_failure(error, CONVERTER, failure)
    assert failure.nexus_handler_failure_info.type == "BAD_REQUEST"
    read: Any = FailureConverter.default.from_failure(failure, CONVERTER)
    assert (read.type, read.retryable_override) == (nexusrpc.HandlerErrorType.BAD_REQUEST, True)
    again = failure_pb.Failure()
    FailureConverter.default.to_failure(read, CONVERTER, again)
    assert again == failure


def test_hints_without_hash_and_many_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    from perdure.converter import typed

    assert value_to_type(Annotated[int, []], 1) == 1
    monkeypatch.setattr(typed, "RULES_REMEMBERED_MAX", 2)
    for _ in range(2):
        assert value_to_type(list[int], [1]) == [1]
        assert value_to_type(set[str], ["a"]) == {"a"}
        assert value_to_type(dict[str, float], {"a": 1}) == {"a": 1.0}
    assert len(typed._rule_of_hint) <= 2


async def _pay() -> None: ...


async def test_a_value_that_was_not_awaited_says_so() -> None:
    forgotten = _pay()
    task = asyncio.ensure_future(asyncio.sleep(0))
    for value, name in ((forgotten, "_pay"), ([task], "Task")):
        with pytest.raises(TypeError, match=f"{name} was not awaited; is an `await` missing"):
            CONVERTER.to_payload(value)
    forgotten.close()
    await task
    with pytest.raises(TypeError, match="object is not JSON serializable: pass plain data"):
        CONVERTER.to_payload(object())
