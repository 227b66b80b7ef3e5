"""The little that only CPython's C interface can do. `ctypes`, through which it is reached, is loaded on first use.

Loading it takes milliseconds, and most processes never interrupt a thread. Not here: when and whom to interrupt.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType


@cache
def loaded() -> ModuleType:
    """The module `ctypes`. Call this early in code that must not import anything later."""
    import ctypes

    return ctypes


def raise_in_thread(thread_id: int, kind: type[BaseException]) -> None:
    """Raise `kind` in a thread at its next bytecode, in place of one that has not arrived there yet.

    Args:
        thread_id: As `threading.get_ident()` says; of a thread that has ended, nothing happens.
        kind: The exception's type; the interpreter makes the instance.
    """
    ctypes = loaded()
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(kind))


def keep_for_ever(what: object) -> None:
    """A reference that nobody gives back: not even the end of the interpreter collects `what`."""
    ctypes = loaded()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(what))
