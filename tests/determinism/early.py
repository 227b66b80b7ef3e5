"""What a helper module binds before any workflow runs: the guard comes later."""

# ruff: noqa: ICN001, DTZ005, PLW0108

from __future__ import annotations

import datetime
import functools
import os
import random
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime as moment
from os import getpid, urandom
from random import Random, SystemRandom, choice, gauss
from random import random as number
from time import monotonic, time_ns
from time import time as seconds
from typing import Any, NamedTuple

import attrs
import msgspec
import pydantic

GENERATOR = Random()
SEEDED = Random(3)
SYSTEM = SystemRandom()
DRAW = GENERATOR.random
CLOCKS: dict[str, Any] = {"now": time.time}
LISTED: list[Any] = [time.perf_counter]
PAIRED: tuple[Any, ...] = (time.time_ns, (moment.now,))
PARTIAL: Any = functools.partial(moment.now, datetime.UTC)
BYTES = urandom
PROCESS = getpid


@dataclass
class Event:
    """A data class as many programs have one."""

    id: uuid.UUID = field(default_factory=uuid.uuid4)
    at: moment = field(default_factory=moment.now)
    also_at: float = field(default_factory=time.time)


@attrs.define
class Sample:
    at: float = attrs.field(factory=time.time)
    until: moment = attrs.field(factory=lambda: moment.now(datetime.UTC))


class Order(pydantic.BaseModel):
    id: uuid.UUID = pydantic.Field(default_factory=uuid.uuid4)
    at: moment = pydantic.Field(default_factory=moment.utcnow)  # pyright: ignore[reportDeprecated]
    also_at: float = pydantic.Field(default_factory=time.time)


class Basket(pydantic.BaseModel):
    order: Order


@pydantic.dataclasses.dataclass
class Line:
    at: float = pydantic.Field(default_factory=time.time)


ADAPTER = pydantic.TypeAdapter(list[Order])


class Record(msgspec.Struct):
    at: float = msgspec.field(default_factory=time.time)
    id: uuid.UUID = msgspec.field(default_factory=uuid.uuid4)


class Stamped:
    clock = time.time
    held = staticmethod(time.monotonic)


class Die(Random):
    """A generator class of one's own."""

    def roll(self) -> int:
        return self.randint(1, 10**9)


DIE = Die()
STAMPED: Any = Stamped


class Reading(NamedTuple):
    at: float
    number: float


def reading() -> Reading:
    return Reading(seconds(), number())


def by_names() -> list[Any]:
    return [monotonic(), time_ns(), choice(range(10**9)), gauss(0, 1), str(uuid.uuid4())]


def by_default(clock: Any = time.time) -> float:
    return clock()


def by_keyword(*, clock: Any = time.time) -> float:
    return clock()


def _enclosing() -> Any:
    clock = time.time
    return lambda: clock()


ENCLOSED: Any = _enclosing()


def environment() -> str | None:
    return os.environ.get("PERDURE_TEST_PROCESS")


def later() -> moment:
    return moment.now() + datetime.timedelta(days=1)


def roll() -> int:
    return random.randint(1, 10**9)
