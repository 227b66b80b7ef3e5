"""The determinism guard: what workflow code may ask the world, and what it is told.

Role: wraps the functions that read clocks, random numbers, the environment and the machine, and listens to the
interpreter's audit events for files, sockets, processes and threads. A call inside a workflow gets the deterministic
answer where there is one, and is refused where there is none. Whose doing the call is decides (`origin`):

| Asked for | USER | LIBRARY, PYTHON | SERVING | EXEMPT |
|---|---|---|---|---|
| the time | workflow time | workflow time | workflow time | the real time |
| random numbers, UUIDs | the run's | the run's, a stream for each package | a stream of their own | real ones |
| `os.urandom`, `secrets` | refused | as above, but no secrets | real ones | real ones |
| environment, machine | refused | let through | let through | let through |
| files | refused | data of the library only | let through | let through |
| network, processes, threads | refused | refused | let through | let through |

Queries and validators are not repeated on replay: their random numbers are real, so the run's do not move on.

Why functions are replaced in the process, and what that costs:

- *Running workflow modules again in a sandbox* (the official SDK) isolates runs from each other, but takes
  milliseconds and up to megabytes for each run, and proxies break `isinstance`, pydantic and C extensions.
- *Replacing names in workflow modules only* leaves out helpers, lambdas and libraries: runs then differ silently.
- *`sys.setprofile` or `sys.monitoring`* sees every call, but slows down all workflow code, and does not see calls
  that C and Rust code makes.
- *Reading the source* cannot tell which helper a workflow will call; `scan` does it for what no call shows.
- So the functions are wrapped once per process. Outside workflows each call costs about 100 ns more: one look at the
  running loop. References to the originals that were bound earlier are looked for once, which takes tens of
  milliseconds (`binding`). `datetime.now` cannot be set from Python, as its class is written in C; its entry in the
  class's dictionary is replaced instead, and the interpreter is told that the class has changed.
- It is no security boundary: code that wants to get past it can.

Invariants: the answer does not depend on what the process has done before (see `origin`); outside workflow code a
wrapper adds one check; `workflow.unsafe.sandbox_unrestricted()` and `@workflow.defn(sandboxed=False)` switch it off.
"""

from __future__ import annotations

import _thread
import concurrent.futures
import datetime as dt
import functools
import gc
import os
import platform
import random
import secrets
import sys
import tempfile
import threading
import time
import uuid
import warnings
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any

from perdure.core import capi
from perdure.worker.host import binding, callsite
from perdure.worker.host.options import GuardPolicy
from perdure.worker.host.origin import (
    Origin,
    Party,
    caller,
    is_direct,
    is_library_data,
    origin,
    users_frame,
)
from perdure.worker.host.state import running_state
from perdure.workflow._errors import NonDeterministicCall
from perdure.workflow._unsafe import guard_is_off

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.worker.host.state import RunState


def _guarded_run() -> RunState | None:
    """The run whose code is calling, None when the guard has nothing to say."""
    state = running_state()
    if state is None or not state.guarded or state.closing or guard_is_off():
        return None
    return state


def refuse(state: RunState, call: str, advice: str) -> None:
    """Raise (or warn about) a nondeterministic call."""
    site = callsite.innermost(callsite.capture(2))
    where = f" ({site}: `{site.text}`)" if site else ""
    users = users_frame(caller(2))
    line = callsite.locate(users.f_code, users.f_lasti) if users is not None else None
    if site and line and line.filename != site.filename:
        where += f", called by {line}: `{line.text}`"
    message = (
        f"{call} in workflow {state.run.workflow_type}{where}: {advice}. If it cannot influence the "
        "workflow, wrap it in `with workflow.unsafe.sandbox_unrestricted():`"
    )
    if state.options.guard is GuardPolicy.WARN:
        warnings.warn(message, RuntimeWarning, stacklevel=3)
        return
    raise NonDeterministicCall(message)


# ── wrapping ──────────────────────────────────────────────────────────────────────────────────────


def _redirect(
    module: Any, name: str, answer: Callable[..., Any], when: Callable[..., bool] | None = None
) -> None:
    """Inside workflows answer with `answer(state, *args)`; `when(*args)` may narrow that down."""
    original = getattr(module, name, None)
    if original is None:  # some clocks are missing on some platforms
        return

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        state = _guarded_run()
        if state is None or (when is not None and not when(*args)):
            return original(*args, **kwargs)
        if origin(state).party is Party.EXEMPT:
            return original(*args, **kwargs)
        return answer(state, *args, **kwargs)

    _install(module, name, wrapper, original)


_ANYBODY = (Party.USER, Party.LIBRARY, Party.PYTHON)
_THE_USER = (Party.USER,)


def _forbid(
    module: Any,
    name: str,
    call: str,
    advice: str,
    whose: tuple[Party, ...] = _THE_USER,
    *,
    direct: bool = False,
) -> None:
    """Inside workflows refuse the call of `whose` code.

    Args:
        module: What the function is an attribute of.
        name: Its name there.
        call: How to call it in the error.
        advice: What to do instead.
        whose: Who is refused.
        direct: Let the standard library call it on the user's behalf.
    """
    original = getattr(module, name, None)
    if original is None:
        return

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        state = _guarded_run()
        if (
            state is not None
            and origin(state).party in whose
            and not (direct and not is_direct(caller()))
        ):
            refuse(state, call, advice)
        return original(*args, **kwargs)

    _install(module, name, wrapper, original)


def _install(module: Any, name: str, wrapper: Any, original: Any) -> None:
    is_builtin = isinstance(original, BuiltinFunctionType)
    if not isinstance(module, type):
        wrapper.__module__, wrapper.__qualname__ = module.__name__, name  # for pickle
    # A builtin in a class stays what it is (`converter = time.gmtime`); a function would become a method.
    replacement = staticmethod(wrapper) if is_builtin else wrapper
    binding.replaced(original, replacement)
    setattr(module, name, replacement)


# ── the time ──────────────────────────────────────────────────────────────────────────────────────


def _seconds(state: RunState, *_clock: int) -> float:
    return state.time_ns / 1e9


def _nanoseconds(state: RunState, *_clock: int) -> int:
    return state.time_ns


def _at_workflow_time(original: Callable[[float], Any]) -> Callable[..., Any]:
    def answer(state: RunState, *_none: None) -> Any:
        return original(_seconds(state))

    return answer


def _of_now(*args: object) -> bool:
    return not args or args[0] is None


def _without_time(*args: object) -> bool:
    return len(args) < 2


def _wrap_clocks() -> None:
    strftime, asctime, localtime = time.strftime, time.asctime, time.localtime

    def formatted(state: RunState, form: str) -> str:
        return strftime(form, localtime(_seconds(state)))

    def as_text(state: RunState, *_none: None) -> str:
        return asctime(localtime(_seconds(state)))

    for name in (
        "time",
        "monotonic",
        "perf_counter",
        "process_time",
        "thread_time",
        "clock_gettime",
    ):
        _redirect(time, name, _seconds)
        _redirect(time, f"{name}_ns", _nanoseconds)
    for name in ("gmtime", "localtime", "ctime"):
        _redirect(time, name, _at_workflow_time(getattr(time, name)), when=_of_now)
    _redirect(time, "asctime", as_text, when=_of_now)
    _redirect(time, "strftime", formatted, when=_without_time)
    _forbid(
        time,
        "sleep",
        "time.sleep()",
        "it blocks the worker and is not recorded; use `await workflow.sleep(...)`",
        _ANYBODY,
    )
    _wrap_class_of_c(dt.datetime, "now", _now)
    _wrap_class_of_c(dt.datetime, "utcnow", _utcnow)


def _now(state: RunState, cls: type[dt.datetime], tz: dt.tzinfo | None = None) -> dt.datetime:
    return cls.fromtimestamp(_seconds(state), tz)


def _utcnow(state: RunState, cls: type[dt.datetime]) -> dt.datetime:
    return cls.fromtimestamp(_seconds(state), dt.UTC).replace(tzinfo=None)


def _wrap_class_of_c(cls: type, name: str, answer: Callable[..., Any]) -> None:
    """Like `_redirect`, for a class method of a class whose attributes cannot be set."""
    (attributes,) = gc.get_referents(cls.__dict__)
    original: Any = attributes[name]

    def wrapper(actual: type, *args: Any, **kwargs: Any) -> Any:
        state = _guarded_run()
        if state is None or origin(state).party is Party.EXEMPT:
            return original.__get__(None, actual)(*args, **kwargs)
        return answer(state, actual, *args, **kwargs)

    wrapper.__name__, wrapper.__qualname__ = name, f"{cls.__name__}.{name}"
    wrapper.__module__, wrapper.__doc__ = cls.__module__, original.__doc__
    attributes[name] = classmethod(wrapper)
    capi.class_has_changed(cls)
    binding.replaced_in_class(cls, name)


# ── randomness ────────────────────────────────────────────────────────────────────────────────────


def _generator(state: RunState, who: Origin) -> random.Random | None:
    """Whose numbers to draw; None for real ones."""
    if who.party is Party.EXEMPT or state.in_query_or_validator:
        return None
    return state.stream(who.package) if who.package else state.random


def _redirect_random(shared: Any, name: str) -> None:
    """A function of the module `random`, which is a method of the generator that the process shares."""
    original = getattr(random, name)

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        state = _guarded_run()
        numbers = None if state is None else _generator(state, origin(state))
        return (original if numbers is None else getattr(numbers, name))(*args, **kwargs)

    _install(random, name, wrapper, original)
    setattr(shared, name, wrapper)  # the module's other functions draw from it by these


def _wrap_randomness() -> None:
    module: Any = random
    shared = module._inst  # of no other name  # noqa: SLF001
    for name in ("random", "getrandbits", "gauss", "getstate", "setstate"):
        _redirect_random(shared, name)
    _forbid(
        random,
        "seed",
        "random.seed()",
        "the workflow's random numbers have a recorded seed; use `workflow.new_random(name)`",
    )
    _wrap_seed()
    _wrap_urandom(os, "urandom")
    _wrap_urandom(os, "getrandom")
    module._urandom = os.urandom  # bound by name before  # noqa: SLF001
    for name in ("choice", "randbits"):  # methods of a generator, which say nothing of `secrets`
        _forbid(secrets, name, f"secrets.{name}()", _SECRETS)
    for name in ("uuid1", "_generate_time_safe"):
        _forbid(uuid, name, "uuid.uuid1()", "use `workflow.uuid4()`", _ANYBODY)
    _forbid(uuid, "getnode", "uuid.getnode()", _MACHINE)


def _wrap_seed() -> None:
    """`Random()`, and `seed()` of a generator of one's own: without a seed they ask the system for one."""
    original = random.Random.seed

    @functools.wraps(original)
    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        if a is None and (state := _guarded_run()) is not None:
            numbers = _generator(state, origin(state))
            a = None if numbers is None else numbers.getrandbits(256)
        original(self, a, version)

    random.Random.seed = seed


_SECRETS = (
    "secrets cannot be repeated on replay; draw them in an activity. For numbers that are not secret, use "
    "`workflow.random()` and `workflow.uuid4()`"
)
_MAKE_SECRETS = frozenset(
    (
        "Crypto", "Cryptodome", "argon2", "authlib", "bcrypt", "cryptography", "django", "ecdsa", "itsdangerous",
        "jose", "jwcrypto", "jwt", "nacl", "passlib", "pyotp", "rsa", "werkzeug",
    )
)  # fmt: skip
"""Packages whose random bytes are keys, salts and passwords: bytes that follow from a run's id would be known."""
_MAKE_IDS = frozenset(
    ("bson", "cuid2", "ksuid", "nanoid", "shortuuid", "ulid", "uuid6", "uuid7", "uuid_extensions", "uuid_utils", "xid")
)  # fmt: skip


def _wrap_urandom(module: Any, name: str) -> None:
    original = getattr(module, name, None)
    if original is None:
        return

    @functools.wraps(original)
    def wrapper(size: int, *flags: int) -> bytes:
        state = _guarded_run()
        if state is None:
            return original(size, *flags)
        who, call = origin(state), _asked_as(name)
        numbers = _generator(state, who)
        if numbers is not None and _may_be_repeated(who, call):
            return numbers.getrandbits(8 * size).to_bytes(size, "big")
        if numbers is not None and who.party is not Party.SERVING:
            refuse(state, call, _SECRETS)
        return original(size, *flags)

    _install(module, name, wrapper, original)


def _may_be_repeated(who: Origin, call: str) -> bool:
    """Whether random bytes that follow from the run's seed will do."""
    if call.startswith("uuid."):
        return True
    if who.party is not Party.LIBRARY:
        return who.party is Party.PYTHON
    if call.startswith("secrets."):
        return who.package in _MAKE_IDS
    return who.package not in _MAKE_SECRETS


def _asked_as(name: str) -> str:
    """The function of `random`, `secrets` or `uuid` that stands behind a call of `os.urandom`."""
    found = f"os.{name}()"
    frame = caller(3)
    while frame.f_back is not None:
        module = frame.f_globals.get("__name__")
        if module == "random":
            found = "random.SystemRandom"
        elif module in {"secrets", "uuid"}:
            found = f"{module}.{frame.f_code.co_name}()"
        else:
            break
        frame = frame.f_back
    return found


# ── environment and machine ───────────────────────────────────────────────────────────────────────

_ENVIRONMENT = (
    "the environment can differ on replay; read it at import time into a constant, "
    "in an activity, or pass it as an argument"
)
_MACHINE = (
    "it differs between processes and machines; ask in an activity, or pass it as an argument"
)
_FILES = "files can change between replays; read and write them in an activity"
_THREADS = "threads run at their own pace; use tasks, or do the work in an activity"

_PROCESS_FACTS = (
    "getpid", "getppid", "getpgrp", "getlogin", "uname", "getcwd", "getcwdb", "cpu_count", "process_cpu_count",
    "sched_getaffinity", "getloadavg", "times",
)  # fmt: skip
_FILE_FACTS = ("stat", "lstat", "access", "readlink", "statvfs")
_PLATFORM_FACTS = (
    "uname", "node", "platform", "system", "release", "version", "machine", "processor", "architecture", "libc_ver",
    "mac_ver", "win32_ver", "freedesktop_os_release",
)  # fmt: skip


def _wrap_surroundings() -> None:
    environ: Any = type(os.environ)
    for name in ("__getitem__", "__iter__", "__len__", "__repr__"):
        _forbid(environ, name, "Reading os.environ", _ENVIRONMENT)
    for name in _PROCESS_FACTS:
        # The standard library's own calls lead to something that is judged by itself.
        _forbid(os, name, f"os.{name}()", _MACHINE, direct=name not in {"getcwd", "getcwdb"})
    for name in _FILE_FACTS:
        _forbid(os, name, f"os.{name}()", _FILES)
    for name in _PLATFORM_FACTS:
        _forbid(platform, name, f"platform.{name}()", _MACHINE)
    for name in ("get_ident", "get_native_id"):
        _forbid(threading, name, f"threading.{name}()", _MACHINE, direct=True)
    _forbid(tempfile, "gettempdir", "tempfile.gettempdir()", _MACHINE)
    _forbid(threading.Thread, "start", "Starting a thread", _THREADS, _ANYBODY)
    _forbid(_thread, "start_new_thread", "Starting a thread", _THREADS, direct=True)
    pool: Any = concurrent.futures.ThreadPoolExecutor
    _forbid(pool, "submit", "Submitting work to an executor", _THREADS, _ANYBODY)


# ── audit events ──────────────────────────────────────────────────────────────────────────────────

_NETWORK = "network I/O differs on replay; do it in an activity"
_PROCESSES = "processes run outside the workflow; start them in an activity"
_DATABASE = "a database's content can change between replays; use it in an activity"

_EVENTS: dict[str, str] = {
    **dict.fromkeys(
        (
            "open", "os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.mkdir", "os.remove", "os.rename",
            "os.rmdir", "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate", "os.utime", "os.chdir",
            "os.getxattr", "os.listxattr", "shutil.copyfile", "shutil.copymode", "shutil.copystat",
            "shutil.copytree", "shutil.move", "shutil.rmtree", "shutil.make_archive", "shutil.unpack_archive",
            "tempfile.mkdtemp", "tempfile.mkstemp", "glob.glob", "glob.glob/2", "pathlib.Path.glob",
            "pathlib.Path.rglob", "mmap.__new__",
        ),
        _FILES,
    ),
    **dict.fromkeys(
        (
            "socket.__new__", "socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg",
            "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr",
            "socket.gethostname", "socket.getnameinfo", "urllib.Request", "http.client.connect",
            "http.client.send", "ftplib.connect", "smtplib.connect", "imaplib.open",
            "poplib.connect", "telnetlib.Telnet.open", "webbrowser.open",
        ),
        _NETWORK,
    ),
    **dict.fromkeys(
        (
            "subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.spawn",
            "os.posix_spawn", "os.startfile", "os.kill", "os.killpg", "pty.spawn",
        ),
        _PROCESSES,
    ),
    "sqlite3.connect": _DATABASE,
    "builtins.input": "a person's answer is not recorded; wait for a signal or an update",
    "os.putenv": _ENVIRONMENT,
    "os.unsetenv": _ENVIRONMENT,
}  # fmt: skip

_NAMES = {"open": "Opening a file", "socket.__new__": "Opening a socket"}


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    advice = _EVENTS.get(event)
    if advice is None:
        return
    state = _guarded_run()
    if state is None or (event == "open" and _is_of_time_zones(*arguments[:1])):
        return
    if _is_refused(origin(state).party, advice, arguments):
        refuse(state, _NAMES.get(event, f"{event}()"), advice)


def _is_of_time_zones(path: object = None) -> bool:
    """Whether a file belongs to the time zone database: `ZoneInfo` opens it from C, without a frame of its own."""
    zoneinfo: Any = sys.modules.get("zoneinfo")
    return (
        zoneinfo is not None
        and isinstance(path, str)
        and path.startswith(tuple(f"{root}{os.sep}" for root in zoneinfo.TZPATH))
    )


def _is_refused(party: Party, advice: str, arguments: tuple[Any, ...]) -> bool:
    """Whether what an audit event reports is refused."""
    if party is Party.USER:
        return True
    if party is Party.LIBRARY:
        return advice is not _ENVIRONMENT and not (
            advice is _FILES and bool(arguments) and is_library_data(arguments[0])
        )
    return party is Party.PYTHON and advice is not _FILES and advice is not _ENVIRONMENT


_installed = False


def install() -> None:
    """Put wrappers and audit hook in place, once per process. An audit hook cannot be removed."""
    global _installed  # one guard per process  # noqa: PLW0603
    if _installed:
        return
    _installed = True
    _wrap_clocks()
    _wrap_randomness()
    _wrap_surroundings()
    sys.addaudithook(_audit)
