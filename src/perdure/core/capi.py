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
    """A reference that is never released: not even the end of the interpreter collects `what`."""
    ctypes = loaded()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(what))


def class_has_changed(cls: type) -> None:
    """Tell the interpreter that a class's dictionary was changed without its knowledge."""
    ctypes = loaded()
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))


def replace_member(holder: object, old: object, new: object) -> bool:
    """Replace what a read-only member of an object of a compiled class refers to; whether it was found.

    Args:
        holder: The object; one of its members refers to `old`.
        old: An object that lives as long as the process: its reference is not given back.
        new: What to refer to instead.
    """
    ctypes = loaded()
    head, size = object.__basicsize__, type(holder).__basicsize__
    word = ctypes.sizeof(ctypes.c_void_p)
    words = (ctypes.c_void_p * ((size - head) // word)).from_address(id(holder) + head)
    for index, value in enumerate(words):
        if value == id(old):
            keep_for_ever(new)
            words[index] = id(new)
            return True
    return False
