"""Runs a function inside a workflow, under the process's guard or one of its own."""

from __future__ import annotations

import importlib.util
import inspect
import os
import random
import secrets
import sys
import threading
import time
import uuid
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from perdure import workflow
from perdure.worker.host import HostOptions, guard
from perdure.workflow import NonDeterministicCall
from tests.unit.worker_host.driver import START_NS, Driver, result

if TYPE_CHECKING:
    from collections.abc import Callable

NOW_NS = START_NS + 1_000_000_000
"""When the driver's first activation is."""
TO_CALL: list[Callable[[], Any]] = []


@workflow.defn
class Calls:
    """Calls what the test asks for, inside a workflow."""

    @workflow.run
    async def run(self) -> Any:
        return TO_CALL[-1]()


def run(function: Callable[[], Any], options: HostOptions | None = None) -> Any:
    TO_CALL[:] = [function]
    return result(Driver(Calls, options).start())


def refused(function: Callable[[], Any]) -> str:
    with pytest.raises(NonDeterministicCall) as caught:
        run(function)
    return str(caught.value)


class Installed:
    """A guard of its own, installed over copies of the modules that it wraps.

    The process's guard is installed by whichever run comes first, and cannot be taken away.
    """

    def __init__(self) -> None:
        spec = importlib.util.spec_from_file_location("guard_again", guard.__file__)
        assert spec is not None
        assert spec.loader is not None
        self.guard: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.guard)
        self.replaced: list[tuple[Any, Any]] = []
        self.hooks: list[Any] = []
        for original in (time, random, uuid, secrets, os, threading):
            setattr(self.guard, original.__name__, unguarded(original))
        self.guard.binding = SimpleNamespace(replaced=self._note)
        self.guard.sys = SimpleNamespace(
            addaudithook=self.hooks.append,
            _getframe=sys._getframe,
        )
        self.guard.install()

    def _note(self, original: Any, replacement: Any) -> None:
        self.replaced.append((original, replacement))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.guard, name)


def unguarded(module: ModuleType) -> ModuleType:
    """A copy of a module as it was before the process's guard came."""
    copy: Any = ModuleType(module.__name__)
    for name, value in vars(module).items():
        setattr(copy, name, inspect.unwrap(value) if inspect.isroutine(value) else value)
    if module is os:
        kind: Any = own(type(os.environ), "__getitem__", "__iter__", "__len__")
        environ = copy.environ = kind.__new__(kind)
        environ.__dict__ |= vars(os.environ)
    if module is threading:
        copy.Thread = own(threading.Thread, "start")
    return copy


def own(base: type, *names: str) -> type:
    methods: dict[str, Any] = {name: inspect.unwrap(getattr(base, name)) for name in names}
    return type(base.__name__, (base,), methods)
