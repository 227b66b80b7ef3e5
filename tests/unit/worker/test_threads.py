"""An exception is raised in the thread of a running activity: at once, later, under shields, and never after its end.

The thread is that of the test: the interpreter raises at one of its next bytecodes.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from perdure.worker.activity.threads import ThreadRaiser


class Hit(Exception):
    """What is raised."""


def let_it_come() -> None:
    """Enough bytecodes and calls for an exception that waits to be raised."""
    for _ in range(1000):
        threading.get_ident()


def comes() -> bool:
    """Whether the exception is raised here."""
    try:
        let_it_come()
    except Hit:
        return True
    return False


def test_it_is_raised_while_the_activity_runs() -> None:
    raiser = ThreadRaiser()
    with pytest.raises(Hit), raiser.running_here():
        raiser.raise_in_thread(Hit)
        let_it_come()
    let_it_come()


def test_one_that_came_before_the_start_is_raised_at_the_start() -> None:
    raiser = ThreadRaiser()
    raiser.raise_in_thread(Hit)
    let_it_come()
    with pytest.raises(Hit), raiser.running_here():
        let_it_come()
    with raiser.running_here():
        let_it_come()


def test_after_the_end_the_thread_is_left_alone() -> None:
    raiser = ThreadRaiser()
    with raiser.running_here():
        assert not comes()
    raiser.raise_in_thread(Hit)
    assert not comes()


def test_one_that_was_held_back_until_the_end_does_not_come_later() -> None:
    raiser = ThreadRaiser()
    with raiser.shielded():
        with raiser.running_here():
            raiser.raise_in_thread(Hit)
            assert not comes()
        assert not comes()
    with raiser.running_here():
        assert not comes()


def test_the_outermost_shield_holds_it_back() -> None:
    raiser = ThreadRaiser()
    steps: list[str] = []

    def work() -> None:
        with raiser.shielded():
            with raiser.shielded():
                raiser.raise_in_thread(Hit)
                let_it_come()
                steps.append("inner")
            let_it_come()
            steps.append("outer")
        let_it_come()
        steps.append("not reached")

    with pytest.raises(Hit), raiser.running_here():
        work()
    assert steps == ["inner", "outer"]


def test_a_shield_that_ends_by_an_error_lets_it_through() -> None:
    raiser = ThreadRaiser()

    def work() -> None:
        with raiser.shielded():
            raiser.raise_in_thread(Hit)
            raise ValueError("own")

    with pytest.raises(Hit), raiser.running_here():
        try:
            work()
        except ValueError:
            let_it_come()


def test_a_shield_without_a_cancellation_changes_nothing() -> None:
    raiser = ThreadRaiser()
    with raiser.running_here():
        with raiser.shielded():
            let_it_come()
        let_it_come()
    with pytest.raises(Hit), raiser.running_here():
        raiser.raise_in_thread(Hit)
        let_it_come()


def test_the_next_work_of_a_pool_s_thread_is_not_hit() -> None:
    raiser = ThreadRaiser()

    def first() -> int:
        with raiser.running_here():
            return threading.get_ident()

    def second() -> int:
        let_it_come()
        return threading.get_ident()

    with ThreadPoolExecutor(1) as executor:
        before = executor.submit(first).result()
        gate = threading.Event()

        def waiting() -> int:
            gate.wait()
            return second()

        running = executor.submit(waiting)
        raiser.raise_in_thread(Hit)
        gate.set()
        assert running.result() == before
