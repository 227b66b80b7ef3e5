"""Compiled libraries that draw random numbers or read clocks where no Python function is called.

Role: blocks these functions and names the alternative. A library that was loaded before the guard was installed is
wrapped then, any other when the interpreter reports its import.

Not here: libraries written in Python, because the functions that they call are guarded themselves.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from perdure.worker.host import wrapping

if TYPE_CHECKING:
    from types import ModuleType

    from perdure.worker.host.state import RunState

_UUIDS = ("uuid1", "uuid4", "uuid6", "uuid7")
_NUMPY = (
    "a random generator that the whole process shares differs on replay; use "
    "`numpy.random.default_rng(workflow.random().getrandbits(128))`"
)
_NUMPYS = (
    "beta", "binomial", "bytes", "chisquare", "choice", "dirichlet", "exponential", "f", "gamma", "geometric",
    "get_state", "gumbel", "hypergeometric", "laplace", "logistic", "lognormal", "logseries", "multinomial",
    "multivariate_normal", "negative_binomial", "noncentral_chisquare", "noncentral_f", "normal", "pareto",
    "permutation", "poisson", "power", "rand", "randint", "randn", "random", "random_integers", "random_sample",
    "ranf", "rayleigh", "sample", "seed", "set_state", "shuffle", "standard_cauchy", "standard_exponential",
    "standard_gamma", "standard_normal", "standard_t", "triangular", "uniform", "vonmises", "wald", "weibull", "zipf",
)  # fmt: skip

_IDS = "it uses the system's random numbers, which differ on replay; use `workflow.uuid4()` or `workflow.uuid7()`"
_INSTANT = "it differs on replay; use `whenever.Instant.from_timestamp_nanos(workflow.time_ns())`"
_COMPILED: dict[str, tuple[tuple[str, ...], str]] = {
    "fastuuid": (_UUIDS, _IDS),
    "numpy.random": (_NUMPYS, _NUMPY),
    "uuid_utils": (_UUIDS, _IDS),
    "uuid_utils.compat": (_UUIDS, _IDS),
    "whenever": ((), _INSTANT),
}
_WHENEVERS = {
    "Instant": ("now",),
    "OffsetDateTime": ("now",),
    "ZonedDateTime": ("now", "now_in_system_tz"),
    "Date": ("today", "today_in_system_tz"),
}
_wrapped: dict[str, None] = {}


def wrap() -> None:
    """Wrap the libraries that are loaded already."""
    for name in _COMPILED:
        module = sys.modules.get(name)
        if module is not None:
            _wrap(name, module)


def imported(name: str) -> None:
    """A module is about to be imported. If it is one of these libraries, load it now and wrap it."""
    if name in _COMPILED and name not in _wrapped and name not in sys.modules:
        _wrap(name, import_module(name))


def _wrap(name: str, module: ModuleType) -> None:
    if name in _wrapped:
        return
    _wrapped[name] = None
    functions, advice = _COMPILED[name]
    for function in functions:
        wrapping.forbid(module, function, f"{name}.{function}()", advice, wrapping.ANYBODY)
    if name == "numpy.random":
        call = "numpy.random.default_rng()"
        wrapping.forbid(module, "default_rng", call, _NUMPY, wrapping.ANYBODY, when=_unseeded)
    if name == "whenever":
        _wrap_whenever(module)


def _unseeded(seed: Any = None, *_rest: object) -> bool:
    return seed is None


def _wrap_whenever(module: ModuleType) -> None:
    for kind, names in _WHENEVERS.items():
        cls = getattr(module, kind, None)
        for name in names:
            if cls is not None and name in vars(cls):
                _forbid_in_class(cls, name)


def _forbid_in_class(cls: type, name: str) -> None:
    original: Any = vars(cls)[name]

    def answer(state: RunState, actual: type, *args: Any, **kwargs: Any) -> Any:
        wrapping.refuse(state, f"{cls.__name__}.{name}()", _INSTANT)
        return original.__get__(None, actual)(*args, **kwargs)

    wrapping.redirect_in_class(cls, name, answer)
