"""Random numbers inside workflows: which generator serves a call, and which calls are refused.

Role: replaces the numbers of `random`, `uuid`, `secrets` and `os.urandom`. All of them use the same few functions, and
these are wrapped, so it does not matter which of the other functions code has bound by name.

| Source | Result |
|---|---|
| `random.random()`, and generators that a module keeps | the run's numbers: others would depend on earlier draws |
| `Random()`, created in the run | a generator that is seeded from the run's numbers |
| `Random(seed)`, created in the run | unchanged |
| `uuid.uuid4()` | the run's numbers |
| `secrets`, `SystemRandom`, `os.urandom()` | refused, except in libraries that need bytes but no secrets |

Each library has its own stream, so a number that a library draws once per process does not shift the workflow's
numbers.
Not here: clocks and other sources of nondeterminism (`guard`).
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
import secrets
import uuid
from typing import TYPE_CHECKING, Any

from perdure.worker.host import binding, wrapping
from perdure.worker.host.loop import WorkflowLoop
from perdure.worker.host.origin import PERDURE, Origin, Party, caller, origin
from perdure.worker.host.state import RunRandom

if TYPE_CHECKING:
    from perdure.worker.host.state import RunState


def _generator(state: RunState, who: Origin) -> random.Random | None:
    """Whose numbers to draw; None for real ones."""
    if who.party is Party.EXEMPT or state.in_query_or_validator:
        return None
    return state.stream(who.package) if who.package else state.random


def _numbers_for(generator: random.Random) -> random.Random:
    """The generator that serves a draw of workflow code: its own, or the run's."""
    state = wrapping.guarded_run()
    if state is None or hasattr(generator, _MADE_IN_RUN):
        return generator
    return _generator(state, origin(state, 3)) or generator


def _wrap_draws() -> None:
    """Draws from generators that were not created in the run: that of `random`, or one that a module keeps.

    All methods and functions of `random` use these, and some modules have bound those of its own generator. They are
    written out one by one for speed, because simulations draw millions of numbers.
    """
    draw, bits, gauss_of = random.Random.random, random.Random.getrandbits, random.Random.gauss
    running_loop = asyncio._get_running_loop  # None instead of an error  # noqa: SLF001

    def random_(self: random.Random) -> float:
        if type(running_loop()) is WorkflowLoop:
            return draw(_numbers_for(self))
        return draw(self)

    def getrandbits(self: random.Random, k: int, /) -> int:
        if type(running_loop()) is WorkflowLoop:
            return bits(_numbers_for(self), k)
        return bits(self, k)

    def gauss(self: random.Random, mu: float = 0.0, sigma: float = 1.0) -> float:
        if type(running_loop()) is WorkflowLoop:
            return gauss_of(_numbers_for(self), mu, sigma)
        return gauss_of(self, mu, sigma)

    methods: dict[str, Any] = {"random": random_, "getrandbits": getrandbits, "gauss": gauss}
    for name, method in methods.items():
        functools.update_wrapper(method, getattr(random.Random, name))
        setattr(random.Random, name, method)
        binding.replaced_in_class(random.Random, name)
        _redirect_random(name)


def _redirect_random(name: str) -> None:
    """A function of the module `random`, which is a method of the generator shared by the process."""
    original = getattr(random, name)

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        state = wrapping.guarded_run()
        numbers = None if state is None else _generator(state, origin(state))
        return (original if numbers is None else getattr(numbers, name))(*args, **kwargs)

    wrapping.install(random, name, wrapper, original)


_MADE_IN_RUN = "_perdure_made_in_run"


def wrap() -> None:
    """Install the wrappers."""
    module: Any = random
    _wrap_draws()
    for name in ("getstate", "setstate"):
        _redirect_random(name)
    wrapping.forbid(
        random,
        "seed",
        "random.seed()",
        "the workflow's random numbers have a recorded seed; use `workflow.new_random(name)`",
    )
    _wrap_seed()
    _wrap_urandom(os, "urandom")
    _wrap_urandom(os, "getrandom")
    module._urandom = os.urandom  # bound by name before  # noqa: SLF001
    for name in ("choice", "randbits"):  # methods that do not mention `secrets`
        wrapping.forbid(secrets, name, f"secrets.{name}()", _SECRETS)
    for name in ("uuid1", "_generate_time_safe"):
        wrapping.forbid(uuid, name, "uuid.uuid1()", "use `workflow.uuid4()`", wrapping.ANYBODY)
    wrapping.forbid(uuid, "getnode", "uuid.getnode()", wrapping.MACHINE)


def _wrap_seed() -> None:
    """`Random()`, and `seed()` of a generator created in the run: without a seed they take one from the system."""
    original = random.Random.seed

    @functools.wraps(original)
    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        state = wrapping.guarded_run()
        who = None if state is None else origin(state)
        numbers = None if state is None or who is None else _generator(state, who)
        if numbers is not None and a is None:
            a = numbers.getrandbits(256)
        if numbers is not None or who is PERDURE:  # as in `workflow.new_random`
            if type(self) is random.Random:
                self.__class__ = RunRandom  # its draws need no further check
            else:
                setattr(self, _MADE_IN_RUN, True)
        original(self, a, version)

    random.Random.seed = seed


_SECRETS = (
    "secrets cannot be repeated on replay; draw them in an activity. For numbers that are not secret, use "
    "`workflow.random()` and `workflow.uuid4()`"
)
_MAKE_SECRETS = frozenset(
    (
        "Crypto", "Cryptodome", "argon2", "authlib", "bcrypt", "cryptography", "django", "ecdsa", "itsdangerous",
        "jose", "jwcrypto", "jwt", "nacl", "passlib", "pyotp", "rsa", "werkzeug",
    )
)  # fmt: skip
"""Packages whose random bytes are keys, salts and passwords. Bytes derived from a run's id would be predictable."""
_MAKE_IDS = frozenset(("ksuid", "nanoid", "shortuuid"))
"""Packages that use `secrets` for values that are not secret."""


def _wrap_urandom(module: Any, name: str) -> None:
    original = getattr(module, name, None)
    if original is None:
        return

    @functools.wraps(original)
    def wrapper(size: int, *flags: int) -> bytes:
        state = wrapping.guarded_run()
        if state is None:
            return original(size, *flags)
        who, call = origin(state), _public_caller(name)
        numbers = _generator(state, who)
        if numbers is not None and _may_be_repeated(who, call):
            return numbers.getrandbits(8 * size).to_bytes(size, "big")
        if numbers is not None and who.party is not Party.SERVING:
            wrapping.refuse(state, call, _SECRETS)
        return original(size, *flags)

    wrapping.install(module, name, wrapper, original)


def _may_be_repeated(who: Origin, call: str) -> bool:
    """Whether random bytes derived from the run's seed are sufficient."""
    if who.package in wrapping.KEEP_STATE:
        return False
    if call.startswith("uuid."):
        return True
    if who.party is not Party.LIBRARY:
        return who.party is Party.PYTHON
    if call.startswith("secrets."):
        return who.package in _MAKE_IDS
    return who.package not in _MAKE_SECRETS


def _public_caller(name: str) -> str:
    """The function of `random`, `secrets` or `uuid` that caused a call of `os.urandom`."""
    found = f"os.{name}()"
    frame = caller(3)
    while frame.f_back is not None:
        module = frame.f_globals.get("__name__")
        if module == "random":
            found = "random.SystemRandom"
        elif module in {"secrets", "uuid"}:
            found = f"{module}.{frame.f_code.co_name}()"
        else:
            break
        frame = frame.f_back
    return found
