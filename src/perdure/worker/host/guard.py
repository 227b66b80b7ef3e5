"""The determinism guard: which calls workflow code may make, and what they return.

Role: wraps the functions that read clocks, random numbers, the environment and the machine, and listens to the
interpreter's audit events for files, sockets, processes and threads. A call inside a workflow gets the deterministic
answer if there is one, and is refused otherwise. What happens depends on the code that is responsible for the call
(`origin`):

| Call for | USER | LIBRARY, PYTHON | SERVING | EXEMPT |
|---|---|---|---|---|
| the time | workflow time | workflow time | workflow time | the real time |
| random numbers, UUIDs | the run's | the run's, a stream for each package | a stream of their own | real ones |
| `os.urandom`, `secrets` | refused | as above, but no secrets | real ones | real ones |
| environment, machine | refused | let through | let through | let through |
| files | refused | data of the library only | let through | let through |
| network, processes, threads | refused | refused | let through | let through |

Queries and validators are not repeated on replay. They get real random numbers, so they do not advance the run's.

Why functions are replaced in the process, and what that costs:

- *Running workflow modules again in a sandbox* (the official SDK) isolates runs from each other, but takes
  milliseconds and up to megabytes for each run, and proxies break `isinstance`, pydantic and C extensions.
- *Replacing names in workflow modules only* leaves out helpers, lambdas and libraries: runs then differ silently.
- *`sys.setprofile` or `sys.monitoring`* sees every call, but slows down all workflow code, and misses calls made by
  C and Rust code.
- *Reading the source* cannot tell which helper a workflow will call. `scan` does this for pitfalls that no call shows.
- So the functions are wrapped once per process. Outside workflows each call costs about 100 ns more: one look at the
  running loop. References to the originals that were bound earlier are searched for once, which takes tens of
  milliseconds (`binding`). `datetime.now` cannot be set from Python, as its class is written in C; its entry in the
  class's dictionary is replaced instead, and the interpreter is told that the class has changed.
- The guard is not a security boundary: code can circumvent it.

Invariants: the answer does not depend on what the process has done before (see `origin`); outside workflow code a
wrapper adds one check; `workflow.unsafe.sandbox_unrestricted()` and `@workflow.defn(sandboxed=False)` switch it off.
"""

from __future__ import annotations

import _thread
import concurrent.futures
import datetime as dt
import os
import platform
import socket
import ssl
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any, cast

from perdure.core.units import SECOND_NS
from perdure.worker.host import extensions, randomness, wrapping
from perdure.worker.host.origin import Party, is_library_data, origin

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.worker.host.state import RunState


# ── the time ──────────────────────────────────────────────────────────────────────────────────────


def _seconds(state: RunState, *_clock: int) -> float:
    return state.time_ns / 1e9


def _nanoseconds(state: RunState, *_clock: int) -> int:
    return state.time_ns


_CPU_CLOCK_STEP_NS = 4_000


def _cpu_nanoseconds(state: RunState, *_clock: int) -> int:
    """CPU time is not recorded. Each reading is later by about what it costs: a loop that waits for CPU time ends."""
    now_ns = state.time_ns + state.cpu_clock_reads * _CPU_CLOCK_STEP_NS
    # Queries and validators are not replayed, so their readings must not count.
    if not state.read_only:
        state.cpu_clock_reads += 1
    return now_ns


def _cpu_seconds(state: RunState, *_clock: int) -> float:
    return _cpu_nanoseconds(state) / SECOND_NS


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
        "clock_gettime",
    ):
        wrapping.redirect(time, name, _seconds)
        wrapping.redirect(time, f"{name}_ns", _nanoseconds)
    for name in ("process_time", "thread_time"):
        wrapping.redirect(time, name, _cpu_seconds)
        wrapping.redirect(time, f"{name}_ns", _cpu_nanoseconds)
    for name in ("gmtime", "localtime", "ctime"):
        wrapping.redirect(time, name, _at_workflow_time(getattr(time, name)), when=_of_now)
    wrapping.redirect(time, "asctime", as_text, when=_of_now)
    wrapping.redirect(time, "strftime", formatted, when=_without_time)
    wrapping.forbid(
        time,
        "sleep",
        "time.sleep()",
        "it blocks the worker and is not recorded; use `await workflow.sleep(...)`",
        wrapping.ANYBODY,
    )
    wrapping.redirect_in_class(dt.datetime, "now", _now)
    wrapping.redirect_in_class(dt.datetime, "utcnow", _utcnow)


def _now(state: RunState, cls: type[dt.datetime], tz: dt.tzinfo | None = None) -> dt.datetime:
    return cls.fromtimestamp(_seconds(state), tz)


def _utcnow(state: RunState, cls: type[dt.datetime]) -> dt.datetime:
    return cls.fromtimestamp(_seconds(state), dt.UTC).replace(tzinfo=None)


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
        wrapping.forbid(environ, name, "Reading os.environ", _ENVIRONMENT)
    for name in _PROCESS_FACTS:
        # The standard library's own calls end in a function that is guarded itself.
        wrapping.forbid(
            os, name, f"os.{name}()", wrapping.MACHINE, direct=name not in {"getcwd", "getcwdb"}
        )
    for name in _FILE_FACTS:
        wrapping.forbid(os, name, f"os.{name}()", _FILES)
    for name in _PLATFORM_FACTS:
        wrapping.forbid(platform, name, f"platform.{name}()", wrapping.MACHINE)
    for name in ("get_ident", "get_native_id"):
        wrapping.forbid(threading, name, f"threading.{name}()", wrapping.MACHINE, direct=True)
    wrapping.forbid(tempfile, "gettempdir", "tempfile.gettempdir()", wrapping.MACHINE)
    wrapping.forbid(threading.Thread, "start", "Starting a thread", _THREADS, wrapping.ANYBODY)
    wrapping.forbid(_thread, "start_new_thread", "Starting a thread", _THREADS, direct=True)
    pool: Any = concurrent.futures.ThreadPoolExecutor
    wrapping.forbid(pool, "submit", "Submitting work to an executor", _THREADS, wrapping.ANYBODY)
    # Using a connection that is already open raises no audit event.
    for name in ("send", "sendall", "recv", "recv_into", "accept"):
        wrapping.forbid(socket.socket, name, f"socket.{name}()", _NETWORK, wrapping.ANYBODY)
    for name in ("read", "write"):
        wrapping.forbid(ssl.SSLSocket, name, f"ssl.SSLSocket.{name}()", _NETWORK, wrapping.ANYBODY)


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
    advices = cast("dict[str, str] | None", _EVENTS)
    if advices is None:
        return  # The interpreter is ending and has cleared this module.
    advice = advices.get(event)
    if advice is None:
        if event == "import":
            extensions.imported(arguments[0])
        return
    state = wrapping.guarded_run()
    if state is None or (event == "open" and _is_of_time_zones(*arguments[:1])):
        return
    if _is_refused(origin(state).party, advice, arguments):
        wrapping.refuse(state, _NAMES.get(event, f"{event}()"), advice)


def _is_of_time_zones(path: object = None) -> bool:
    """Whether a file belongs to the time zone database: `ZoneInfo` opens it from C, without a frame of its own."""
    roots = getattr(sys.modules.get("zoneinfo"), "TZPATH", ())
    return isinstance(path, str) and path.startswith(tuple(f"{root}{os.sep}" for root in roots))


def _is_refused(party: Party, advice: str, arguments: tuple[Any, ...]) -> bool:
    """Whether the call that an audit event reports is refused."""
    if party is Party.USER:
        return True
    if party is Party.LIBRARY:
        return advice is not _ENVIRONMENT and not (
            advice is _FILES and bool(arguments) and is_library_data(arguments[0])
        )
    return party is Party.PYTHON and advice is not _FILES and advice is not _ENVIRONMENT


_installed = False


def install() -> None:
    """Install the wrappers and the audit hook, once per process. An audit hook cannot be removed."""
    global _installed  # one guard per process  # noqa: PLW0603
    if _installed:
        return
    _installed = True
    _wrap_clocks()
    randomness.wrap()
    _wrap_surroundings()
    extensions.wrap()
    sys.addaudithook(_audit)
