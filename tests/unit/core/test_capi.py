"""What is reached through the C interface: another thread, and the end of the interpreter."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from functools import partial

from perdure.core import capi


class Stop(BaseException):
    """What the thread is to be told."""


class Kept:
    """Something that a weak reference can point at."""


def test_an_exception_reaches_another_thread_at_its_next_step() -> None:
    runs, caught = threading.Event(), threading.Event()

    def work() -> None:
        try:
            runs.set()
            until_s = time.monotonic() + 60
            while time.monotonic() < until_s:
                pass
        except Stop:
            caught.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert runs.wait(60)
    assert thread.ident is not None
    capi.raise_in_thread(thread.ident, Stop)
    thread.join(60)
    assert caught.is_set()


def _first() -> str:
    return "first"


def _second() -> str:
    return "second"


def test_a_read_only_member_refers_to_something_else() -> None:
    call = partial(_first)
    assert not capi.replace_member(call, _second, _first), "nothing in it refers to that"
    assert call() == "first"
    assert capi.replace_member(call, _first, _second)
    assert (call(), call.func) == ("second", _second)
    assert not capi.replace_member(call, _first, _second)


def test_what_is_kept_outlives_its_last_name() -> None:
    kept, dropped = Kept(), Kept()
    references = weakref.ref(kept), weakref.ref(dropped)
    capi.keep_for_ever(kept)
    del kept, dropped
    gc.collect()
    assert [reference() is not None for reference in references] == [True, False]
