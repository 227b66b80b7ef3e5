"""Who makes a call inside a workflow: the user, a library, or code that serves the worker.

Role: walks the stack outward from a guarded call, up to the frame of the host that runs user code, and determines which
code is responsible for the call (`Party`). The guard decides accordingly. The answer depends only on the code on the
stack and never on what the process did before, so a replay in another process gets the same answer.

| Party | Who | Example |
|---|---|---|
| USER | workflow code, its helpers, and what the standard library does on their behalf | `Path("x").read_text()` |
| LIBRARY | an installed package | `babel` reads its tables |
| PYTHON | a part of the standard library that acts for itself | `zoneinfo` reads its data |
| SERVING | interceptors, and converters that decode: the workflow sees their results | a header is read |
| EXEMPT | logging, tracing, debuggers, imports, converters that encode, this library | a log handler opens a file |

Invariants: a file's role is decided once, by its name. The workflow's own package counts as user code, even if it is
installed.
Not here: what is refused (`guard`), which numbers are drawn (`randomness`).
"""

from __future__ import annotations

import os
import sys
import sysconfig
from enum import Enum, auto
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import perdure
from perdure.worker.interceptors.workflow import (
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)

if TYPE_CHECKING:
    from types import FrameType

    from perdure.worker.host.state import RunState


class Party(Enum):
    """Which code is responsible for a call."""

    USER = auto()
    LIBRARY = auto()
    PYTHON = auto()
    SERVING = auto()
    EXEMPT = auto()


class Origin(NamedTuple):
    """Which code is responsible for a call, and the top-level package of the library that makes it."""

    party: Party
    package: str


class _Role(Enum):
    """What a file's frames mean for the walk."""

    THROUGH = auto()
    """Acts on behalf of its caller."""
    OWN = auto()
    """A part of the standard library that acts for itself."""
    LIBRARY = auto()
    USER = auto()
    PERDURE = auto()
    CONVERTER = auto()
    """This library, when it calls a converter."""
    DIAGNOSIS = auto()
    """Exempt, with everything that it calls."""
    OBSERVER = auto()
    """An installed package that is exempt, but not user code that it calls."""


_LIBRARY = str(Path(perdure.__file__).parent) + os.sep
_STDLIB = str(Path(os.__file__).parent) + os.sep
_CONVERTERS = (
    f"{_LIBRARY}converter{os.sep}",
    f"{_LIBRARY}worker{os.sep}host{os.sep}converters.py",
)
_GUARD = tuple(
    f"{_LIBRARY}worker{os.sep}host{os.sep}{name}.py"
    for name in ("extensions", "guard", "randomness", "wrapping")
)
_TEST_RUNNER = f"{os.sep}_pytest{os.sep}"
_SITE = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")

_DIAGNOSIS = frozenset(
    ("bdb", "cmd", "cProfile", "linecache", "logging", "pdb", "platform", "profile", "trace", "traceback", "warnings")
)  # fmt: skip
"""Modules of the standard library that serve observability and diagnostics.

`platform` is included because it caches its results for the process. The guard refuses its functions directly.
"""

_OWN = frozenset(
    (
        "_strptime", "argparse", "ast", "ctypes", "dis", "doctest", "encodings", "gettext", "importlib", "inspect",
        "locale", "mimetypes", "optparse", "pkgutil", "pydoc", "site", "ssl", "sysconfig", "tokenize", "typing",
        "unittest", "zoneinfo",
    )
)  # fmt: skip
"""Modules of the standard library that read their own settings and data files."""

_OBSERVERS = frozenset(
    (
        "_pydev_bundle", "_pydevd_bundle", "coverage", "datadog", "ddtrace", "debugpy", "elasticapm", "execnet",
        "hypothesis", "logfire", "loguru", "memray", "newrelic", "opentelemetry", "prometheus_client", "pydevd",
        "pyinstrument", "sentry_sdk", "statsd", "structlog", "tqdm", "xdist",
    )
)  # fmt: skip
"""Packages that observe the program. None of their results reaches the workflow."""

_EMITTERS = frozenset(
    (
        ("loguru", "_log"), ("structlog", "_process_event"), ("opentelemetry", "on_end"),
        ("opentelemetry", "on_start"), ("opentelemetry", "generate_span_id"), ("opentelemetry", "generate_trace_id"),
        ("opentelemetry", "should_sample"), ("sentry_sdk", "capture_event"),
    )
)  # fmt: skip
"""Functions of these packages that call user code such as processors and sinks. All that they call is exempt."""

_ON_BEHALF = frozenset(
    (
        "appdirs", "cpuinfo", "decouple", "distro", "dotenv", "dynaconf", "environ", "environs", "getmac", "ifaddr",
        "machineid", "netifaces", "platformdirs", "psutil", "pydantic_settings",
    )
)  # fmt: skip
"""Packages whose purpose is to tell their caller about the environment and the machine."""

_INTERCEPTING = frozenset(
    name
    for kind in (WorkflowInboundInterceptor, WorkflowOutboundInterceptor)
    for name in vars(kind)
    if not name.startswith("_")
) | {"__init__"}


def origin(state: RunState, depth: int = 2) -> Origin:
    """Which code is responsible for a call.

    Args:
        state: The run whose code is on the stack.
        depth: Frames of the guard itself, which are left out.
    """
    frame: FrameType | None = sys._getframe(depth)  # documented, for this purpose  # noqa: SLF001
    found: Origin | None = None
    unknown = False
    while frame is not None:
        code = frame.f_code
        role, package = _role_of(code.co_filename)
        if role is _Role.USER or role is _Role.LIBRARY or role is _Role.OBSERVER:
            if (package, code.co_name) in _EMITTERS:
                return _EXEMPT
            if found is None:
                found = _first(state, frame, role)
            if code.co_name in _INTERCEPTING and _is_interceptor(frame):
                return _INTERCEPTOR
        elif role is _Role.OWN:
            found = found or Origin(Party.PYTHON, package)
        elif role is _Role.DIAGNOSIS:
            return _EXEMPT
        elif role is _Role.CONVERTER:
            # Encoding happens once, and history records the result. Decoding is repeated on replay.
            decodes = code.co_name.startswith("from_") or code.co_name == "decode"
            return _CONVERTER if decodes else _EXEMPT
        elif role is _Role.PERDURE:
            if found is None and not unknown:
                return PERDURE
            break
        elif code.co_filename.startswith("<") and not code.co_filename.startswith("<frozen "):
            unknown = True  # generated or interactive code: its caller decides
        frame = frame.f_back
    return found or _USER


_EXEMPT = Origin(Party.EXEMPT, "")
PERDURE = Origin(Party.EXEMPT, "perdure")
"""This library itself."""
_CONVERTER = Origin(Party.SERVING, "<converters>")
_INTERCEPTOR = Origin(Party.SERVING, "<interceptors>")
_USER = Origin(Party.USER, "")


def caller(depth: int = 2) -> FrameType:
    """The frame that calls a guarded function."""
    return sys._getframe(depth)  # documented, for this purpose  # noqa: SLF001


def is_direct(frame: FrameType) -> bool:
    """Whether a frame belongs to user or library code, not to the standard library in between."""
    return _role_of(frame.f_code.co_filename)[0] in {_Role.USER, _Role.LIBRARY}


def users_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost frame in the user's own files; None if all code on the stack is installed."""
    while frame is not None:
        role, _ = _role_of(frame.f_code.co_filename)
        if role is _Role.USER:
            return frame
        if role is _Role.PERDURE:
            return None
        frame = frame.f_back
    return None


def _first(state: RunState, frame: FrameType, role: _Role) -> Origin:
    """The origin that follows from the innermost frame of user or library code."""
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    own = package in own_packages(state.definition.cls.__module__)
    if role is _Role.USER or own:
        return _USER  # regardless of its module name, which may differ on replay
    return Origin(Party.EXEMPT if role is _Role.OBSERVER else Party.LIBRARY, package)


@cache
def own_packages(module: str) -> frozenset[str]:
    """The top-level packages of the code that a workflow class belongs to."""
    names = {module.partition(".")[0]}
    if module == "__main__":
        spec = getattr(sys.modules.get("__main__"), "__spec__", None)
        if spec is not None:
            names.add(spec.name.partition(".")[0])
    return frozenset(names)


def _is_interceptor(frame: FrameType) -> bool:
    code = frame.f_code
    if not code.co_argcount:
        return False
    first = frame.f_locals.get(code.co_varnames[0])
    return isinstance(first, WorkflowInboundInterceptor | WorkflowOutboundInterceptor)


@cache
def _role_of(filename: str) -> tuple[_Role, str]:
    """The role of a file, and its top-level package."""
    if filename.startswith("<frozen importlib"):
        return _Role.DIAGNOSIS, "importlib"
    if filename.startswith("<"):
        return _Role.THROUGH, ""
    if filename in _GUARD:
        return _Role.THROUGH, ""  # its wrappers are between caller and callee
    if filename.startswith(_LIBRARY):
        return (_Role.CONVERTER if filename.startswith(_CONVERTERS) else _Role.PERDURE), "perdure"
    if _TEST_RUNNER in filename:  # its rewritten `assert` reads the environment
        return _Role.DIAGNOSIS, "pytest"
    site = max((filename.rfind(part) + len(part) for part in _SITE if part in filename), default=0)
    if site:
        return _installed(_top(filename[site:]))
    if filename.startswith(_STDLIB):
        package = _top(filename.removeprefix(_STDLIB))
        if package in _DIAGNOSIS:
            return _Role.DIAGNOSIS, package
        return (_Role.OWN if package in _OWN else _Role.THROUGH), package
    return _Role.USER, ""


def _installed(package: str) -> tuple[_Role, str]:
    if package in _ON_BEHALF:
        return _Role.THROUGH, package
    return (_Role.OBSERVER if package in _OBSERVERS else _Role.LIBRARY), package


def _top(path: str) -> str:
    return path.partition(os.sep)[0].removesuffix(".py")


@cache
def _data_roots() -> tuple[str, ...]:
    """Folders in which libraries keep their own data."""
    names = ("stdlib", "platstdlib", "purelib", "platlib", "data")
    installed = {sysconfig.get_path(name) for name in names} - {sys.prefix, sys.base_prefix}
    prefixes = {
        f"{prefix}{os.sep}{part}"
        for prefix in (sys.prefix, sys.base_prefix)
        for part in ("lib", "share")
    }
    system = {
        "/etc",
        "/lib",
        "/usr/lib",
        "/usr/share",
        "/System",
        "/Library",
        os.environ.get("SYSTEMROOT", ""),
    }
    return tuple(sorted(f"{root}{os.sep}" for root in installed | prefixes | system if root))


def is_library_data(path: object) -> bool:
    """Whether libraries keep their own data and settings at a path, rather than the caller's data."""
    if not isinstance(path, str | bytes):
        return True  # a file descriptor: the call that opened it was checked
    name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100  # links stay as they are
    if name.startswith(_data_roots()) or any(part in name for part in _SITE):
        return True
    home = os.path.expanduser("~") + os.sep  # noqa: PTH111
    return name.startswith((f"{home}.", f"{home}Library{os.sep}", f"{home}AppData{os.sep}"))
