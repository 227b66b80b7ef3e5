"""Requests at random: no answer blames the server, nothing hangs, and what is stored stays sound."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest

from perdure.server.frontend.rpcs import RPCS
from perdure.wire.api import workflowservice
from perdure.wire.errors import Internal, InvalidArgument, Unavailable
from perdure.wire.seam import WORKFLOW_SERVICE
from tests.fuzz.maker import FILLER, Maker
from tests.fuzz.player import ANSWERED, MISSING, Finding, Player

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from perdure.server.frontend.rpcs import Handler

SEEDS = 24
CHUNKS = 4
REQUESTS = 500
"""Of one seed."""


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_requests_of_many_seeds(chunk: int, request: pytest.FixtureRequest) -> None:
    """Plays few seeds by default; `--seeds N` changes the number, `--seed N` plays one."""
    only: int | None = request.config.getoption("--seed")
    count = cast("int | None", request.config.getoption("--seeds")) or SEEDS
    seeds: range | list[int] = range(chunk, count, CHUNKS)
    if only is not None:
        seeds = [only] if only % CHUNKS == chunk else []
    for seed in seeds:
        player = Player(seed, REQUESTS)
        try:
            player.play()
        except BaseException as error:
            error.add_note(f"play it again: make fuzz SEED={seed}")
            raise
        assert player.outcomes.total() > REQUESTS


def test_every_rpc_gets_requests_and_most_succeed_at_times() -> None:
    outcomes = Player(1_000_003, 0).outcomes
    for seed in range(1_000, 1_008):
        player = Player(seed, 500)
        player.play()
        outcomes += player.outcomes
    methods = {outcome.split()[0] for outcome in outcomes}
    assert {method.name for method in ANSWERED} - methods == set()
    successful = {outcome.split()[0] for outcome in outcomes if outcome.endswith(" OK")}
    assert len(successful) > 0.7 * len(ANSWERED)
    assert {method.name for method in MISSING} & methods, "those that are missing are called too"
    assert not {method.name for method in MISSING} & successful


def test_the_same_seed_sends_the_same_requests() -> None:
    players = [Player(7, 100) for _ in range(2)]
    for player in players:
        player.play()
    assert players[0].outcomes == players[1].outcomes


# ── the watch itself ──────────────────────────────────────────────────────────────────────────────


def play_with(handler: Handler) -> None:
    """Play with another handler of DescribeNamespace."""
    path = WORKFLOW_SERVICE["DescribeNamespace"].path
    before = RPCS[path]
    RPCS[path] = before._replace(handler=handler)
    try:
        Player(3, 200).play()
    finally:
        RPCS[path] = before


def found(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return [text for each in group.exceptions for text in found(each)]
    assert isinstance(error, Finding)
    return [str(error)]


async def _breaks(services: Any, call: Any, request: Any) -> Message:
    raise KeyError("a bug")


async def _blames_itself(services: Any, call: Any, request: Any) -> Message:
    raise Internal("no")


async def _is_away(services: Any, call: Any, request: Any) -> Message:
    raise Unavailable("no")


async def _hangs(services: Any, call: Any, request: Any) -> Message:
    import asyncio

    await asyncio.sleep(3_600)
    return workflowservice.DescribeNamespaceResponse()


async def _repeats(services: Any, call: Any, request: Any) -> Message:
    raise InvalidArgument(f"what is {FILLER * 200}?")


async def _answers_nonsense(services: Any, call: Any, request: Any) -> bytes:
    return b"\xff\xff\xff"


@pytest.mark.parametrize(
    ("handler", "finding"),
    [
        (_breaks, "KeyError"),
        (_blames_itself, "answers INTERNAL"),
        (_is_away, "answers UNAVAILABLE"),
        (_hangs, "hangs"),
        (_repeats, "repeats what it was sent"),
        (_answers_nonsense, "cannot be read"),
    ],
)
def test_a_bug_is_found(handler: Handler, finding: str) -> None:
    with pytest.raises((Finding, BaseExceptionGroup)) as caught:
        play_with(handler)
    assert any(finding in text for text in found(caught.value))


def test_an_unsound_database_is_found() -> None:
    player = Player(5, 20)
    player._connection.execute(
        "CREATE TRIGGER lose AFTER INSERT ON visibility BEGIN DELETE FROM visibility; END"
    )
    with pytest.raises(Finding, match="unsound"):
        player.play()


def test_made_requests_are_extreme_only_when_they_should_be() -> None:
    maker = Maker(Random(1))
    kind = workflowservice.StartWorkflowExecutionRequest
    sizes = [maker.request(kind).ByteSize() for _ in range(300)]
    assert min(sizes) < 200
    assert max(sizes) > 20_000
    damaged = sum(
        maker.encoded(request) != request.SerializeToString()
        for request in (maker.request(kind) for _ in range(300))
    )
    assert 0 < damaged < 150
