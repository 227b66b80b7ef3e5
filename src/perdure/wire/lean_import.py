"""Import the generated API packages without what they drag in: the rest of `temporalio`, and grpc.

The package's own `__init__` loads its SDK and compiled core, and each service's package loads grpc for its stubs: a
third of the time of `import perdure.workflow`, for nothing we use. So the outer package is put into place without
running its `__init__`, which runs when somebody asks it for anything; the stubs come when they are asked for.

Invariants: a process that has imported `temporalio` already is left as it is; one that imports it later gets all of it,
with the same message classes.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import threading
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

_PACKAGE = "temporalio"
_SERVICES = ("operatorservice", "testservice", "workflowservice")
_lock = threading.RLock()


class _Unopened(ModuleType):
    """A package whose `__init__` has not run yet."""

    def __getattr__(self, name: str) -> Any:
        with _lock:
            if type(self) is _Unopened:
                object.__setattr__(self, "__class__", ModuleType)
                loader = self.__spec__.loader if self.__spec__ else None
                assert loader is not None
                loader.exec_module(self)
        # It may be there now; if not, this is the ordinary error.
        return ModuleType.__getattribute__(self, name)


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
    sys.modules[_PACKAGE] = module


@contextmanager
def without_grpc() -> Generator[None]:
    """Inside the block grpc cannot be imported, even when it is loaded; the services' stubs stay to be asked for."""
    loaded = sys.modules.get("grpc")
    known = {name for name in _service_packages() if name in sys.modules}
    sys.modules["grpc"] = None  # pyright: ignore[reportArgumentType]  -- how the import system spells "there is none"
    try:
        yield
    finally:
        del sys.modules["grpc"]
        if loaded is not None:
            sys.modules["grpc"] = loaded
        for name in _service_packages() - known:
            if name in sys.modules:
                _stubs_on_request(sys.modules[name])


def _service_packages() -> set[str]:
    return {f"{_PACKAGE}.api.{service}.v1" for service in _SERVICES}


def _stubs_on_request(package: ModuleType) -> None:
    def stub(name: str) -> Any:
        if name.startswith("_") or not name.endswith(("Stub", "Servicer", "_to_server")):
            raise AttributeError(f"module {package.__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package.__name__}.service_pb2_grpc"), name)

    package.__dict__["__getattr__"] = stub
