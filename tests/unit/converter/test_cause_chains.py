"""Chains of exceptions of any shape become failures within bounds."""

from __future__ import annotations

import json

import pytest

from perdure.converter import (
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    FailureConverter,
    PayloadConverter,
)
from perdure.converter.last_resort import failure_of
from perdure.exceptions import ApplicationError, FailureError
from perdure.wire.api import failure as failure_pb
from perdure.wire.failures import LEVELS_MAX
from tests.unit.wire.test_failures import chain, messages, numbers

CONVERTER = PayloadConverter.default


def write(
    error: BaseException, converter: FailureConverter = FailureConverter.default
) -> failure_pb.Failure:
    failure = failure_pb.Failure()
    converter.to_failure(error, CONVERTER, failure)
    return failure


def raised(levels: int) -> ValueError:
    """A chain of so many errors, which say how deep they are."""
    error = ValueError(str(levels - 1))
    for level in range(levels - 2, -1, -1):
        outer = ValueError(str(level))
        outer.__cause__ = error
        error = outer
    return error


@pytest.mark.parametrize(
    "levels", [1, 2, 3, LEVELS_MAX - 3, LEVELS_MAX - 2, LEVELS_MAX - 1, LEVELS_MAX]
)
def test_chains_that_fit_are_whole(levels: int):
    failure = write(raised(levels))
    assert messages(failure) == numbers(levels)


@pytest.mark.parametrize("levels", [LEVELS_MAX + 1, LEVELS_MAX + 2, 99, 400, 20_000])
def test_of_longer_ones_the_root_cause_follows_a_marker(levels: int):
    failure = write(raised(levels))
    assert messages(failure) == [*numbers(LEVELS_MAX - 2), "…", str(levels - 1)]
    error: BaseException | None = FailureConverter.default.from_failure(failure, CONVERTER)
    texts: list[str] = []
    while error is not None:
        assert isinstance(error, ApplicationError)
        texts.append(error.message)
        error = error.__cause__
    assert texts[0] == "0"
    assert "Causes are left out" in texts[-2]
    assert texts[-1] == str(levels - 1)


@pytest.mark.parametrize("kind", ["cause", "context"])
def test_contexts_of_failures_are_cut_as_well(kind: str):
    error = FailureError("99")
    for level in range(98, -1, -1):
        outer = FailureError(str(level))
        setattr(outer, f"__{kind}__", error)
        error = outer
    assert messages(write(error)) == [*numbers(LEVELS_MAX - 2), "…", "99"]


@pytest.mark.parametrize("before", [0, 1, 2, LEVELS_MAX - 3, LEVELS_MAX - 1, 200])
@pytest.mark.parametrize("around", [1, 2, 3, LEVELS_MAX - 1, LEVELS_MAX, 120])
def test_circles_end_where_they_begin_again(before: int, around: int):
    errors = [ValueError(str(number)) for number in range(before + around)]
    for error, cause in zip(errors, [*errors[1:], errors[before]], strict=True):
        error.__cause__ = cause
    total = before + around
    expected = (
        numbers(total) if total <= LEVELS_MAX else [*numbers(LEVELS_MAX - 2), "…", str(total - 1)]
    )
    assert messages(write(errors[0])) == expected


def test_an_error_that_is_its_own_context():
    error = FailureError("self")
    error.__context__ = error
    assert messages(write(error)) == ["self"]


def test_one_error_in_two_chains_is_converted_in_both():
    shared = ValueError("shared")
    for name in ("a", "b"):
        error = ValueError(name)
        error.__cause__ = shared
        assert messages(write(error)) == [name, "shared"]


def test_after_a_conversion_that_failed_the_next_one_begins_anew():
    error = ValueError("0")
    error.__cause__ = ApplicationError("1", object())
    for _ in range(2 * LEVELS_MAX):
        with pytest.raises(TypeError, match="not JSON serializable"):
            write(error)
    assert messages(write(raised(LEVELS_MAX))) == numbers(LEVELS_MAX)


async def test_failures_that_came_from_elsewhere_are_cut_when_they_go_on():
    """A failure is copied with all its causes: what raises from the last failure, again and again, would grow."""
    failure = chain(LEVELS_MAX)
    for attempt in range(LEVELS_MAX + 5):
        error = ApplicationError(f"attempt {attempt}")
        error.__cause__ = await DataConverter.default.decode_failure(failure)
        failure = failure_pb.Failure()
        await DataConverter.default.encode_failure(error, failure)
        said = messages(failure)
        assert len(said) == LEVELS_MAX
        assert said[0] == f"attempt {attempt}"
        assert said[-2:] == ["…", str(LEVELS_MAX - 1)]
        assert messages(failure_of(error, FailureConverter.default, CONVERTER)) == said


async def test_what_a_converter_of_the_user_makes_is_cut_when_it_is_sent():
    class Deep(FailureConverter):
        def to_failure(
            self,
            exception: BaseException,
            payload_converter: PayloadConverter,
            failure: failure_pb.Failure,
        ) -> None:
            failure.CopyFrom(chain(300))

        def from_failure(
            self, failure: failure_pb.Failure, payload_converter: PayloadConverter
        ) -> BaseException:
            return ValueError(failure.message)

    failure = failure_pb.Failure()
    await DataConverter(failure_converter_class=Deep).encode_failure(ValueError("x"), failure)
    cut = [*numbers(LEVELS_MAX - 2), "…", "299"]
    assert messages(failure) == cut
    assert messages(failure_of(ValueError("x"), Deep(), CONVERTER)) == cut


def test_attributes_of_all_levels_are_encoded_but_those_of_the_marker():
    failure = write(raised(200), DefaultFailureConverterWithEncodedAttributes())
    levels = 0
    while True:
        levels += 1
        if failure.HasField("encoded_attributes"):
            assert failure.message == "Encoded failure"
            said = json.loads(failure.encoded_attributes.data)["message"]
            assert said == ("199" if levels == LEVELS_MAX else str(levels - 1))
        else:
            assert levels == LEVELS_MAX - 1
        if not failure.HasField("cause"):
            break
        failure = failure.cause
    assert levels == LEVELS_MAX


async def test_huge_messages_and_stack_traces_are_shortened():
    def deeper(levels: int) -> None:
        if levels:
            deeper(levels - 1)
        raise ValueError("x" * 5_000_000)

    with pytest.raises(ValueError, match="xxx") as caught:
        deeper(300)
    failure = failure_pb.Failure()
    await DataConverter.default.encode_failure(caught.value, failure)
    assert failure.ByteSize() < 300_000
    assert failure.message.startswith("xxx")
    assert "characters are left out" in failure.message
    assert "deeper(levels - 1)" in failure.stack_trace


def test_an_error_of_a_recursion_without_end():
    def endless() -> None:
        endless()

    with pytest.raises(RecursionError) as caught:
        endless()
    failure = write(caught.value)
    assert failure.application_failure_info.type == "RecursionError"


def test_groups_within_groups():
    members: list[Exception] = [ValueError("inmost")]
    for _ in range(500):
        members = [ExceptionGroup("g", members)]
    (group,) = members
    failure = write(group)
    assert failure.application_failure_info.type == "ExceptionGroup"
    assert len(messages(failure)) <= LEVELS_MAX
