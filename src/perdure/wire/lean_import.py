"""Import the generated API packages without what they drag in: the rest of `temporalio`, and grpc.

The package's own `__init__` loads its SDK and compiled core, and each service's package loads grpc for its stubs: a
third of the time of `import perdure.workflow`, for nothing we use. So the outer package is put into place without
running its `__init__`, which runs when somebody asks it for anything; the stubs come when they are asked for.

How: each service's package consists of the classes of its `request_response_pb2` and of the stubs. A finder, in place
only while our imports run, gives these packages a loader that takes the classes and leaves the stubs to be asked for.
Other ways were worse: grpc as `None` in `sys.modules` for the moment makes imports of grpc in other threads fail; an
import hook for grpc itself would have to know who imports it; a copy of the generated packages is not ours to make.

Invariants: a process that has imported `temporalio` already is left as it is; one that imports it later gets all of it,
with the same message classes. What other threads import meanwhile is never affected, except that they too may get a
service's package whose stubs come on request.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import threading
from contextlib import contextmanager
from importlib.machinery import PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec

_PACKAGE = "temporalio"
_SERVICES = ("operatorservice", "testservice", "workflowservice")
_WAIT_S = 10
"""How long a thread waits for another one that runs the package. If that one waits for an import lock which this
thread holds, the wait would have no end; then the name is looked up as it is."""
_lock = threading.RLock()
_opening: set[str] = set()


class _Unopened(ModuleType):
    """A package whose `__init__` has not run yet, or is running."""

    def __getattr__(self, name: str) -> Any:
        if _lock.acquire(timeout=_WAIT_S):
            try:
                _open(self)
            finally:
                _lock.release()
        # It may be there now; if not, this is the ordinary error.
        return ModuleType.__getattribute__(self, name)


def _open(module: ModuleType) -> None:
    """Run the package, once. Its class changes afterwards: until then, other threads ask here, and wait."""
    if type(module) is not _Unopened or module.__name__ in _opening:
        return  # done; or asked for by the package itself, as it runs
    loader = module.__spec__.loader if module.__spec__ else None
    assert loader is not None
    _opening.add(module.__name__)
    try:
        loader.exec_module(module)
    finally:
        _opening.discard(module.__name__)
    object.__setattr__(module, "__class__", ModuleType)


def leave_unopened() -> None:
    """Put the outer package into place without running it. A no-op when it is loaded, or not installed."""
    if _PACKAGE in sys.modules:
        return
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    # As its `__init__` does: other distributions add packages to it.
    module.__path__ = pkgutil.extend_path(module.__path__, _PACKAGE)
    module.__class__ = _Unopened
    sys.modules.setdefault(_PACKAGE, module)  # another thread may have imported it meanwhile


@contextmanager
def without_grpc() -> Generator[None]:
    """Inside the block the services' packages are loaded without grpc; their stubs stay to be asked for."""
    finder = _ServiceFinder()
    # Always a new list: an import in another thread that walks the old one must not miss an entry.
    sys.meta_path = [finder, *sys.meta_path]
    try:
        yield
    finally:
        sys.meta_path = [each for each in sys.meta_path if each is not finder]


class _ServiceFinder:
    """Finds the services' packages, where they lie, for `_ServiceLoader`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in {f"{_PACKAGE}.api.{service}.v1" for service in _SERVICES}:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = cast("Loader", _ServiceLoader(spec.loader))
        return spec


class _ServiceLoader:
    """Fills a service's package with its messages.

    Args:
        real: The loader that would run the package's own code. It is the module's loader again afterwards.
    """

    def __init__(self, real: Loader) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> None:
        """The import system makes the module."""

    def exec_module(self, module: ModuleType) -> None:
        messages = importlib.import_module(f"{module.__name__}.request_response_pb2")
        names = [name for name, value in vars(messages).items() if isinstance(value, type)]
        for name in names:
            setattr(module, name, getattr(messages, name))
        module.__dict__["__all__"] = names
        _stubs_on_request(module)
        module.__loader__ = self._real
        assert module.__spec__ is not None
        module.__spec__.loader = self._real


def _stubs_on_request(package: ModuleType) -> None:
    def stub(name: str) -> Any:
        if name.startswith("_") or not name.endswith(("Stub", "Servicer", "_to_server")):
            raise AttributeError(f"module {package.__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package.__name__}.service_pb2_grpc"), name)

    package.__dict__["__getattr__"] = stub
