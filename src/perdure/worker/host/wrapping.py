"""How the determinism guard wraps a function: what its wrappers have in common.

Role: a wrapper finds the run whose code is calling and the code that is responsible for the call (`origin`). It then
returns a deterministic answer (`redirect`), refuses the call (`forbid`) or calls the original. The original is recorded
for `binding`.

Invariant: outside workflow code a wrapper costs one check of the running loop.
Not here: which functions are wrapped (`guard`, `randomness`).
"""

from __future__ import annotations

import asyncio
import functools
import gc
import warnings
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from perdure.core import capi
from perdure.worker.host import binding, callsite
from perdure.worker.host.loop import WorkflowLoop
from perdure.worker.host.options import GuardPolicy
from perdure.worker.host.origin import Party, caller, is_direct, origin, users_frame
from perdure.worker.host.state import running_state
from perdure.workflow._errors import NonDeterministicCall
from perdure.workflow._unsafe import guard_is_off

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.worker.host.state import RunState


_running_loop = asyncio._get_running_loop  # None instead of an error  # noqa: SLF001


def guarded_run() -> RunState | None:
    """The run whose code is calling; None if the guard does not apply."""
    state = running_state()
    if state is None or not state.guarded or state.closing or guard_is_off():
        return None
    return state


def refuse(state: RunState, call: str, advice: str) -> None:
    """Raise (or warn about) a nondeterministic call."""
    site = callsite.innermost(callsite.capture(2))
    where = f" ({site}: `{site.text}`)" if site else ""
    users = users_frame(caller(2))
    line = callsite.locate(users.f_code, users.f_lasti) if users is not None else None
    if site and line and line.filename != site.filename:
        where += f", called by {line}: `{line.text}`"
    message = (
        f"{call} in workflow {state.run.workflow_type}{where}: {advice}. If it cannot influence the "
        "workflow, wrap it in `with workflow.unsafe.sandbox_unrestricted():`"
    )
    if state.options.guard is GuardPolicy.WARN:
        warnings.warn(message, RuntimeWarning, stacklevel=3)
        return
    raise NonDeterministicCall(message)


def redirect(
    module: Any, name: str, answer: Callable[..., Any], when: Callable[..., bool] | None = None
) -> None:
    """Inside workflows return `answer(state, *args)`. `when(*args)` may restrict this."""
    original = getattr(module, name, None)
    if original is None:  # some clocks are missing on some platforms
        return

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if type(_running_loop()) is not WorkflowLoop:  # because event loops read the clock often
            return original(*args, **kwargs)
        state = guarded_run()
        if state is None or (when is not None and not when(*args)):
            return original(*args, **kwargs)
        who = origin(state)
        if who.party is Party.EXEMPT:
            return original(*args, **kwargs)
        if who.package in KEEP_STATE:
            refuse(state, f"{who.package}, by time.{name}()", _STATEFUL)
        return answer(state, *args, **kwargs)

    install(module, name, wrapper, original)


MACHINE = "it differs between processes and machines; ask in an activity, or pass it as an argument"

KEEP_STATE = frozenset(
    ("bson", "cuid", "cuid2", "snowflake", "tsidpy", "ulid", "uuid6", "uuid7", "uuid_extensions", "xid")
)  # fmt: skip
"""Packages whose ids depend on the previous one that the process created."""
_STATEFUL = "its ids depend on those that the process made before; use `workflow.uuid7()` or `workflow.uuid4()`"

ANYBODY = (Party.USER, Party.LIBRARY, Party.PYTHON)
THE_USER = (Party.USER,)


def forbid(
    module: Any,
    name: str,
    call: str,
    advice: str,
    whose: tuple[Party, ...] = THE_USER,
    *,
    direct: bool = False,
    when: Callable[..., bool] | None = None,
) -> None:
    """Inside workflows refuse calls for which `whose` code is responsible.

    Args:
        module: What the function is an attribute of.
        name: Its name there.
        call: How to call it in the error.
        advice: What to do instead.
        whose: The parties that are refused.
        direct: Allow calls that the standard library makes on the user's behalf.
        when: Restricts this, by the arguments.
    """
    original = getattr(module, name, None)
    if original is None:
        return

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        state = guarded_run()
        if (
            state is not None
            and (when is None or when(*args))
            and origin(state).party in whose
            and not (direct and not is_direct(caller()))
        ):
            refuse(state, call, advice)
        return original(*args, **kwargs)

    install(module, name, wrapper, original)


def redirect_in_class(cls: type, name: str, answer: Callable[..., Any]) -> None:
    """Like `redirect`, for a class method of a class whose attributes cannot be set."""
    (attributes,) = gc.get_referents(cls.__dict__)
    original: Any = attributes[name]

    def wrapper(actual: type, *args: Any, **kwargs: Any) -> Any:
        state = guarded_run()
        if state is None or origin(state).party is Party.EXEMPT:
            return original.__get__(None, actual)(*args, **kwargs)
        return answer(state, actual, *args, **kwargs)

    wrapper.__name__, wrapper.__qualname__ = name, f"{cls.__name__}.{name}"
    wrapper.__module__, wrapper.__doc__ = cls.__module__, original.__doc__
    attributes[name] = classmethod(wrapper)
    capi.class_has_changed(cls)
    binding.replaced_in_class(cls, name)


class _Function(staticmethod):  # pyright: ignore[reportMissingTypeArgument]
    """A wrapper of a builtin. Like a builtin, it never becomes a method, and it is pickled by its name."""

    @override
    def __reduce__(self) -> str:
        return self.__qualname__


def install(module: Any, name: str, wrapper: Any, original: Any) -> None:
    """Replace an original with its wrapper, and record the pair."""
    is_builtin = isinstance(original, BuiltinFunctionType)
    if isinstance(module, type):
        setattr(module, name, wrapper)  # all code looks up methods there
        return
    wrapper.__module__, wrapper.__qualname__ = module.__name__, name  # for pickle
    # A builtin in a class does not become a method (`converter = time.gmtime`), but a function would.
    replacement = _Function(wrapper) if is_builtin else wrapper
    binding.replaced(original, replacement)
    setattr(module, name, replacement)
