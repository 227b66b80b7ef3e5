"""Runs a function inside a workflow, under the process's guard or one of its own."""

from __future__ import annotations

import _thread
import concurrent.futures
import datetime  # noqa: ICN001
import importlib.util
import inspect
import os
import platform
import random
import secrets
import socket
import ssl
import sys
import tempfile
import threading
import time
import uuid
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import pytest

from perdure import workflow
from perdure.worker.host import HostOptions, guard, randomness, wrapping
from perdure.workflow import NonDeterministicCall
from tests.unit.worker_host.driver import START_NS, Driver, result

if TYPE_CHECKING:
    from collections.abc import Callable

NOW_NS = START_NS + 1_000_000_000
"""When the driver's first activation is."""
SOCKET_METHODS = ("send", "sendall", "recv", "recv_into", "accept")
SSL_METHODS = ("read", "write")
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
        self.guard: Any = again(guard)
        self.guard.randomness = numbers = again(randomness)
        self.guard.wrapping = numbers.wrapping = wraps = again(wrapping)
        self.guard.extensions = SimpleNamespace(wrap=lambda: None, imported=self._note_import)
        self.replaced: list[tuple[Any, Any]] = []
        self.replaced_in_class: list[tuple[type, str]] = []
        self.hooks: list[Any] = []
        self.imported: list[str] = []
        for original in (time, os, threading, platform, tempfile, _thread):
            setattr(self.guard, original.__name__, unguarded(original))
        self.guard.concurrent = SimpleNamespace(futures=unguarded(concurrent.futures))
        self.guard.socket = SimpleNamespace(socket=own(socket.socket, *SOCKET_METHODS))
        self.guard.ssl = SimpleNamespace(SSLSocket=own(ssl.SSLSocket, *SSL_METHODS))
        for original in (random, uuid, secrets):
            setattr(self, original.__name__, again(original))
            setattr(numbers, original.__name__, getattr(self, original.__name__))
        numbers.os = self.uuid.os = self.guard.os
        self.guard.dt = SimpleNamespace(datetime=Instant, UTC=datetime.UTC)
        self.guard.binding = numbers.binding = wraps.binding = SimpleNamespace(
            replaced=self._note, replaced_in_class=self._note_in_class
        )
        self.guard.sys = SimpleNamespace(addaudithook=self.hooks.append, modules=sys.modules)
        self.guard.install()

    def _note_import(self, name: str) -> None:
        self.imported.append(name)

    def _note(self, original: Any, replacement: Any) -> None:
        self.replaced.append((original, replacement))

    def _note_in_class(self, cls: type, name: str) -> None:
        self.replaced_in_class.append((cls, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.guard, name)


class Instant(datetime.datetime):
    """A class of the tests' own whose class methods the guard replaces."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Self:
        return super().now(tz)

    @classmethod
    def utcnow(cls) -> Self:
        return cls.now(datetime.UTC)


def again(module: ModuleType) -> Any:
    """A module that is loaded once more, beside the one that everybody uses."""
    assert module.__file__ is not None
    spec = importlib.util.spec_from_file_location(module.__name__, module.__file__)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def unguarded(module: ModuleType) -> ModuleType:
    """A copy of a module as it was before the process's guard came."""
    copy: Any = ModuleType(module.__name__)
    for name, value in vars(module).items():
        setattr(copy, name, inspect.unwrap(value) if inspect.isroutine(value) else value)
    if module is os:
        kind: Any = own(type(os.environ), "__getitem__", "__iter__", "__len__", "__repr__")
        environ = copy.environ = kind.__new__(kind)
        environ.__dict__ |= vars(os.environ)
    if module is threading:
        copy.Thread = own(threading.Thread, "start")
    if module is concurrent.futures:
        copy.ThreadPoolExecutor = own(concurrent.futures.ThreadPoolExecutor, "submit")
    return copy


def own(base: type, *names: str) -> type:
    methods: dict[str, Any] = {name: inspect.unwrap(getattr(base, name)) for name in names}
    return type(base.__name__, (base,), methods)
