"""The determinism guard: nondeterministic calls from workflow code, and only from there.

Layer A wraps functions once per process. Inside a workflow the wrapper gives the deterministic answer where
there is one (`time.time()` is workflow time, `random.random()` the workflow's random) and raises where there
is none. Layer C is an audit hook: it sees what no wrapper can (files, sockets, processes), however the
function was bound.

Invariants: outside workflow code a wrapper adds one check of the running loop; this library's own work inside
an activation (tracebacks, logging) and imports are never refused; `workflow.unsafe.sandbox_unrestricted()`
and `@workflow.defn(sandboxed=False)` switch it off.
Not here: what cannot be seen at run time, such as `datetime.now()`; see `scan`.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import secrets
import sys
import threading
import time
import uuid
import warnings
from pathlib import Path
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any

from perdure.worker.host import binding, callsite
from perdure.worker.host.options import GuardPolicy
from perdure.worker.host.state import running_state
from perdure.workflow._errors import NonDeterministicCall
from perdure.workflow._unsafe import guard_is_off

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from perdure.worker.host.state import RunState

_log = logging.getLogger(__name__)

_STDLIB = Path(logging.__file__).parents[1]
# Diagnosis may read files and clocks on behalf of user code: none of it reaches the workflow's state.
_EXEMPT = (
    "<frozen importlib",
    str(_STDLIB / "logging") + os.sep,
    *(str(_STDLIB / name) for name in ("linecache.py", "pdb.py", "bdb.py", "cmd.py")),
)

_TEST_RUNNER = f"{os.sep}_pytest{os.sep}"
"""Its rewritten `assert` looks at the environment to decide how much to say."""


def _guarded_run() -> RunState | None:
    """The run whose code is calling, None when the guard has nothing to say."""
    state = running_state()
    if state is None or not state.guarded or state.closing or guard_is_off():
        return None
    return state


def _is_users_doing() -> bool:
    """Whether the innermost frame outside the standard library is not this library's."""
    frame: FrameType | None = sys._getframe(2)  # documented, for this purpose  # noqa: SLF001
    while frame is not None:
        filename = frame.f_code.co_filename
        if filename.startswith(_EXEMPT) or _TEST_RUNNER in filename:
            return False
        if not callsite.is_internal_file(filename):
            return not _is_importing(frame)
        # Wrappers of this module stand between user code and the standard library.
        if (
            callsite.is_library_file(filename)
            and "asyncio" not in filename
            and frame.f_globals.get("__name__") != __name__
        ):
            return False
        frame = frame.f_back
    return False  # never reached: below workflow code there are always the host's frames


def refuse(state: RunState, call: str, advice: str) -> None:
    """Raise (or warn about) a nondeterministic call of user code."""
    site = callsite.innermost(callsite.capture(2))
    where = f" ({site}: `{site.text}`)" if site else ""
    message = (
        f"{call} in workflow {state.run.workflow_type}{where}: {advice}. If it cannot influence the "
        "workflow, wrap it in `with workflow.unsafe.sandbox_unrestricted():`"
    )
    if state.options.guard is GuardPolicy.WARN:
        warnings.warn(message, RuntimeWarning, stacklevel=3)
        return
    raise NonDeterministicCall(message)


# ── layer A: wrapped functions ────────────────────────────────────────────────────────────────────


def _is_importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported further out: what it does at import time is not the workflow's doing."""
    while frame is not None:
        filename = frame.f_code.co_filename
        if filename.startswith("<frozen importlib"):
            return True
        if callsite.is_library_file(filename):
            return False
        frame = frame.f_back
    return False


def _redirect(
    module: Any, name: str, answer: Callable[..., Any], when: Callable[..., bool] | None = None
) -> None:
    """Inside workflows answer with `answer(state, *args)`; `when(*args)` may narrow that down."""
    original = getattr(module, name, None)
    if original is None:
        return

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        state = _guarded_run()
        if state is None or (when is not None and not when(*args)) or not _is_users_doing():
            return original(*args, **kwargs)
        return answer(state, *args, **kwargs)

    _install(module, name, wrapper, original)


def _forbid(module: Any, name: str, call: str, advice: str) -> None:
    """Inside workflows refuse the call."""
    original = getattr(module, name)

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        state = _guarded_run()
        if state is not None and _is_users_doing():
            refuse(state, call, advice)
        return original(*args, **kwargs)

    _install(module, name, wrapper, original)


def _install(module: Any, name: str, wrapper: Any, original: Any) -> None:
    binding.replaced(original, wrapper)
    # A builtin in a class stays what it is (`converter = time.gmtime`); a function would become a method.
    is_builtin = isinstance(original, BuiltinFunctionType)
    setattr(module, name, staticmethod(wrapper) if is_builtin else wrapper)


def _seconds(state: RunState) -> float:
    return state.time_ns / 1e9


def _nanoseconds(state: RunState) -> int:
    return state.time_ns


def _at_workflow_time(original: Callable[[float], Any]) -> Callable[[RunState], Any]:
    return lambda state: original(_seconds(state))


def _no_arguments(*args: object) -> bool:
    return not args


def _wrap_clocks() -> None:
    for name in ("time", "monotonic", "perf_counter"):
        _redirect(time, name, _seconds)
        _redirect(time, f"{name}_ns", _nanoseconds)
    originals = {name: getattr(time, name) for name in ("gmtime", "localtime", "ctime")}
    for name, original in originals.items():
        _redirect(time, name, _at_workflow_time(original), when=_no_arguments)
    _forbid(
        time,
        "sleep",
        "time.sleep()",
        "it blocks the worker and is not recorded; use `await workflow.sleep(...)`",
    )


def _from_workflow_random(name: str) -> Callable[..., Any]:
    def answer(state: RunState, *args: Any, **kwargs: Any) -> Any:
        return getattr(state.loop.workflow_runtime.random(), name)(*args, **kwargs)

    return answer


_RANDOM = (
    "random", "randint", "randrange", "uniform", "choice", "choices", "shuffle", "sample",
    "getrandbits", "randbytes", "gauss", "normalvariate", "lognormvariate", "expovariate",
    "betavariate", "gammavariate", "triangular", "vonmisesvariate", "paretovariate",
    "weibullvariate", "binomialvariate",
)  # fmt: skip


def _uuid4(state: RunState) -> uuid.UUID:
    bits: int = state.loop.workflow_runtime.random().getrandbits(128)
    return uuid.UUID(bytes=bits.to_bytes(16, "big"), version=4)


def _wrap_randomness() -> None:
    for name in _RANDOM:
        _redirect(random, name, _from_workflow_random(name))
    _forbid(
        random,
        "seed",
        "random.seed()",
        "the workflow's random numbers have a recorded seed; use `workflow.new_random(name)`",
    )
    _redirect(uuid, "uuid4", _uuid4)
    _forbid(uuid, "uuid1", "uuid.uuid1()", "use `workflow.uuid4()`")
    for name in ("token_bytes", "token_hex", "token_urlsafe", "randbelow", "randbits", "choice"):
        _forbid(
            secrets,
            name,
            f"secrets.{name}()",
            "secrets cannot be repeated on replay; draw them in an activity",
        )
    _forbid(
        os,
        "urandom",
        "os.urandom()",
        "it differs on replay; use `workflow.random().randbytes(n)`, or an activity for secrets",
    )


_ENVIRONMENT = (
    "the environment can differ on replay; read it at import time into a constant, "
    "in an activity, or pass it as an argument"
)


def _wrap_surroundings() -> None:
    environ: Any = type(os.environ)
    _forbid(environ, "__getitem__", "Reading os.environ", _ENVIRONMENT)
    _forbid(environ, "__iter__", "Reading os.environ", _ENVIRONMENT)
    _forbid(environ, "__len__", "Reading os.environ", _ENVIRONMENT)
    _forbid(
        threading.Thread,
        "start",
        "Starting a thread",
        "threads run at their own pace; use tasks, or do the work in an activity",
    )


# ── layer C: audit events ─────────────────────────────────────────────────────────────────────────

_FILES = "files can change between replays; read and write them in an activity"
_NETWORK = "network I/O differs on replay; do it in an activity"
_PROCESSES = "processes run outside the workflow; start them in an activity"
_DATABASE = "a database's content can change between replays; use it in an activity"

_EVENTS: dict[str, str] = {
    **dict.fromkeys(
        (
            "open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename", "os.rmdir",
            "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate", "os.utime",
            "os.chdir", "shutil.copyfile", "shutil.copymode", "shutil.copystat",
            "shutil.copytree", "shutil.move", "shutil.rmtree", "shutil.make_archive",
            "shutil.unpack_archive", "tempfile.mkdtemp", "tempfile.mkstemp", "glob.glob",
            "glob.glob/2", "pathlib.Path.glob", "pathlib.Path.rglob", "mmap.__new__",
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


def _audit(event: str, _arguments: tuple[Any, ...]) -> None:
    advice = _EVENTS.get(event)
    if advice is None:
        return
    state = _guarded_run()
    if state is not None and _is_users_doing():
        refuse(state, _NAMES.get(event, f"{event}()"), advice)


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
