"""Random numbers: whose they are, and which bytes may follow from a run's seed."""

from __future__ import annotations

import random
import secrets
import uuid
from typing import Any

import pytest

from perdure import workflow
from perdure.worker.host.state import RunRandom, running_state
from tests.unit.worker_host.driver import SEED, Driver, result
from tests.unit.worker_host.guarded import refused, run
from tests.unit.worker_host.test_origin import of

SHARED = random.Random(5)


class Die(random.Random):
    """A generator class of one's own."""

    def roll(self) -> int:
        return self.randint(1, 6)


DIE = Die(5)


def numbers(generator: random.Random) -> list[Any]:
    return [
        generator.random(),
        generator.getrandbits(40),
        generator.gauss(1, 2),
        generator.gauss(mu=3),
        generator.choice(range(10**6)),
        generator.randbytes(4).hex(),
    ]


@pytest.mark.parametrize("shared", [SHARED, DIE])
def test_a_generator_of_a_module_draws_the_runs_numbers_and_keeps_its_place(shared: Any) -> None:
    place = shared.getstate()
    assert run(lambda: numbers(shared)) == numbers(random.Random(SEED))
    assert shared.getstate() == place


@pytest.mark.parametrize("kind", [random.Random, Die])
def test_a_generator_with_a_seed_that_the_run_makes_is_itself(kind: type[random.Random]) -> None:
    assert run(lambda: numbers(kind(5))) == numbers(random.Random(5))
    assert run(lambda: numbers(workflow.new_random("a"))) == numbers(random.Random(f"{SEED}:a"))


def test_a_generator_class_of_ones_own_stays_the_class() -> None:
    assert run(lambda: [type(kind(5)) is kind for kind in (Die, RunRandom)]) == [True, True]
    assert run(lambda: [Die(5).roll(), isinstance(random.Random(5), random.Random)]) == [
        random.Random(5).randint(1, 6),
        True,
    ]


@pytest.mark.parametrize("kind", [random.Random, Die])
def test_one_without_a_seed_is_seeded_from_the_runs_numbers(kind: type[random.Random]) -> None:
    own = random.Random(SEED)
    seeds = [own.getrandbits(256), own.getrandbits(256)]
    made = run(lambda: [kind().random(), kind(None).random()])
    assert made == [random.Random(seed).random() for seed in seeds]


def test_generators_are_as_before_outside_workflows() -> None:
    run(lambda: None)
    assert numbers(random.Random(5)) == numbers(RunRandom(5))
    assert type(random.Random(5)) is random.Random
    assert random.Random().random() != random.Random().random()
    assert random.Random.random.__name__ == "random"


def test_the_state_of_the_modules_generator_is_the_runs() -> None:
    def again() -> list[float]:
        state = random.getstate()
        first = random.random()
        random.setstate(state)
        return [first, random.random()]

    before = random.getstate()
    first, second = run(again)
    assert first == second == random.Random(SEED).random()
    assert random.getstate() == before


def test_a_reset_gives_libraries_other_numbers_too() -> None:
    draws = of("arrow", "def go(): return random.random()")
    before = run(draws)

    def reseeded() -> list[float]:
        state = running_state()
        assert state is not None
        first = draws()
        state.reseed(99)
        return [first, draws(), workflow.random().random()]

    first, second, own = run(reseeded)
    assert first == before
    assert second == random.Random("99/arrow").random()
    assert own == random.Random(99).random()


# Bytes --------------------------------------------------------------------------------------------

BYTES = "def go(): return os.urandom(3).hex()"


def stream(package: str, size: int) -> str:
    return random.Random(f"{SEED}/{package}").getrandbits(8 * size).to_bytes(size, "big").hex()


def test_a_library_gets_bytes_that_follow_from_the_run() -> None:
    assert run(of("httpx", BYTES)) == stream("httpx", 3)


SECRETS = (
    "Crypto Cryptodome argon2 authlib bcrypt cryptography django ecdsa itsdangerous jose jwcrypto jwt nacl passlib"
    " pyotp rsa werkzeug"
)
STATEFUL = "bson cuid cuid2 snowflake tsidpy ulid uuid6 uuid7 uuid_extensions xid"


@pytest.mark.parametrize("package", [*SECRETS.split(), *STATEFUL.split()])
def test_one_that_makes_secrets_or_counts_its_ids_gets_none(package: str) -> None:
    assert refused(of(package, BYTES)).startswith("os.urandom() in workflow Calls (")


@pytest.mark.parametrize("package", STATEFUL.split())
def test_one_that_counts_its_ids_is_not_told_the_time(package: str) -> None:
    said = refused(of(package, "def go(): return time.time()"))
    assert said.startswith(f"{package}, by time.time() in workflow Calls (")
    assert "workflow.uuid7()" in said


@pytest.mark.parametrize("package", ["ksuid", "nanoid", "shortuuid"])
def test_makers_of_ids_may_use_the_module_of_secrets(package: str) -> None:
    lends = of(package, "def go(): return secrets.token_hex(3)")
    lends.__globals__["secrets"] = secrets
    assert run(lends) == stream(package, 3)


def test_other_libraries_may_not() -> None:
    lends = of("arrow", "def go(): return secrets.token_hex(3)")
    lends.__globals__["secrets"] = secrets
    assert refused(lends).startswith("secrets.token_hex() in workflow Calls (")


def test_a_uuid_of_a_library_is_the_librarys() -> None:
    makes = of("arrow", "def go(): return str(uuid.uuid4())")
    makes.__globals__["uuid"] = uuid
    expected = uuid.UUID(hex=stream("arrow", 16), version=4)
    assert run(makes) == str(expected)


@workflow.defn
class Makes:
    @workflow.run
    async def run(self) -> list[str]:
        return [str(uuid.uuid4()), str(workflow.uuid4())]


def test_a_uuid_is_the_one_that_the_workflow_module_makes() -> None:
    own = random.Random(SEED)
    made = [
        str(uuid.UUID(bytes=own.getrandbits(128).to_bytes(16, "big"), version=4)) for _ in range(2)
    ]
    assert result(Driver(Makes).start()) == made
