"""Blocks in which the determinism guard is off: they nest, and may be closed where they were not opened."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager

import pytest

from perdure.workflow import unsafe
from perdure.workflow._unsafe import _unrestricted

BLOCKS: list[tuple[Callable[[], AbstractContextManager[None]], Callable[[], bool]]] = [
    (unsafe.sandbox_unrestricted, _unrestricted.get),
    (unsafe.imports_passed_through, unsafe.is_imports_passed_through),
]


@pytest.mark.parametrize(("block", "is_inside"), BLOCKS)
def test_blocks_nest_and_end_with_an_error(
    block: Callable[[], AbstractContextManager[None]], is_inside: Callable[[], bool]
) -> None:
    with block():
        with pytest.raises(LookupError), block():
            raise LookupError
        assert is_inside()
    assert not is_inside()


@pytest.mark.parametrize(("block", "is_inside"), BLOCKS)
def test_a_suspended_block_may_be_closed_in_another_context(
    block: Callable[[], AbstractContextManager[None]], is_inside: Callable[[], bool]
) -> None:
    ended: list[bool] = []

    def code() -> Generator[None]:
        with block():
            yield
        ended.append(False)

    suspended = code()
    contextvars.copy_context().run(next, suspended)
    assert not is_inside()
    suspended.close()
    assert not is_inside()
    assert ended == []
