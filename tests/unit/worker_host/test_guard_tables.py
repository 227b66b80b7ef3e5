"""The determinism guard's tables, one row after the other."""

from __future__ import annotations

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
from typing import TYPE_CHECKING, Any

import pytest

from perdure.worker.host.state import running_state
from perdure.workflow import NonDeterministicCall
from tests.unit.worker_host.driver import SEED
from tests.unit.worker_host.guarded import (
    NOW_NS,
    SOCKET_METHODS,
    SSL_METHODS,
    Installed,
    refused,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def fresh() -> Installed:
    return Installed()


# Redirected calls ---------------------------------------------------------------------------------

DRAWS: dict[str, tuple[Any, ...]] = {
    "random": (),
    "randint": (1, 10**9),
    "randrange": (10**9,),
    "uniform": (0.0, 10.0),
    "choice": (range(10**9),),
    "choices": (range(10**9),),
    "sample": (range(10**9), 3),
    "getrandbits": (64,),
    "randbytes": (8,),
    "gauss": (0.0, 1.0),
    "normalvariate": (0.0, 1.0),
    "lognormvariate": (0.0, 1.0),
    "expovariate": (1.0,),
    "betavariate": (1.0, 2.0),
    "gammavariate": (1.0, 2.0),
    "triangular": (0.0, 10.0),
    "vonmisesvariate": (0.0, 1.0),
    "paretovariate": (1.0,),
    "weibullvariate": (1.0, 2.0),
    "binomialvariate": (10**6, 0.5),
}


def drawn(source: Any, name: str) -> Any:
    value = getattr(source, name)(*DRAWS[name])
    return value.hex() if isinstance(value, bytes) else value


@pytest.mark.parametrize("name", [name for name in DRAWS if hasattr(random, name)])
def test_every_function_of_random_draws_from_the_workflow(name: str, fresh: Installed) -> None:
    assert run(lambda: drawn(fresh.random, name)) == drawn(random.Random(SEED), name)


def test_shuffling_is_the_workflows_own(fresh: Installed) -> None:
    def shuffled(source: Any) -> list[int]:
        numbers = list(range(100))
        source.shuffle(numbers)
        return numbers

    assert run(lambda: shuffled(fresh.random)) == shuffled(random.Random(SEED))


def test_a_random_uuid_is_drawn_from_the_workflow(fresh: Installed) -> None:
    drawn_twice = [run(lambda: str(fresh.uuid.uuid4())) for _ in range(2)]
    assert drawn_twice[0] == drawn_twice[1]
    assert uuid.UUID(drawn_twice[0]).version == 4
    assert uuid.UUID(drawn_twice[0]).variant == uuid.RFC_4122


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        ("time", NOW_NS / 1e9),
        ("monotonic", NOW_NS / 1e9),
        ("perf_counter", NOW_NS / 1e9),
        ("time_ns", NOW_NS),
        ("monotonic_ns", NOW_NS),
        ("perf_counter_ns", NOW_NS),
    ],
)
def test_every_clock_tells_workflow_time(clock: str, expected: float, fresh: Installed) -> None:
    assert run(getattr(fresh.time, clock)) == expected


@pytest.mark.parametrize("name", ["gmtime", "localtime", "ctime"])
def test_the_broken_down_time_of_now_is_that_of_the_workflow(name: str, fresh: Installed) -> None:
    convert = getattr(time, name)
    assert run(lambda: str(getattr(fresh.time, name)())) == str(convert(NOW_NS / 1e9))
    assert run(lambda: str(getattr(fresh.time, name)(0))) == str(convert(0))


# Refused calls ------------------------------------------------------------------------------------

SECRETS: dict[str, tuple[Any, ...]] = {
    "token_bytes": (),
    "token_hex": (),
    "token_urlsafe": (),
    "randbelow": (10,),
    "randbits": (8,),
    "choice": ("abc",),
}


@pytest.mark.parametrize("name", SECRETS)
def test_every_function_of_secrets_is_refused_by_its_name(name: str, fresh: Installed) -> None:
    said = refused(lambda: getattr(fresh.secrets, name)(*SECRETS[name]))
    assert said.startswith(f"secrets.{name}() in workflow Calls (")
    assert "activity" in said


REFUSED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "time.sleep()": ("await workflow.sleep", lambda it: it.time.sleep(0)),
    "random.seed()": ("workflow.new_random", lambda it: it.random.seed(1)),
    "uuid.uuid1()": ("workflow.uuid4()", lambda it: it.uuid.uuid1()),
    "os.urandom()": ("workflow.random()", lambda it: it.os.urandom(1)),
    "Starting a thread": ("use tasks", lambda it: it.threading.Thread(target=print).start()),
}


@pytest.mark.parametrize("call", REFUSED)
def test_what_has_no_deterministic_answer_is_refused(call: str, fresh: Installed) -> None:
    advice, make = REFUSED[call]
    said = refused(lambda: make(fresh))
    assert said.startswith(f"{call} in workflow Calls (")
    assert advice in said


READS: list[Callable[[Any], Any]] = [
    lambda environ: environ["PATH"],
    lambda environ: iter(environ).__next__(),
    len,
    lambda environ: environ.get("PATH"),
    dict,
]


@pytest.mark.parametrize("read", READS)
def test_every_way_to_the_environment_is_refused(
    read: Callable[[Any], Any], fresh: Installed
) -> None:
    assert read(fresh.os.environ) == read(os.environ), "outside workflows"
    assert "the environment can differ on replay" in refused(lambda: read(fresh.os.environ))


def test_the_guard_is_installed_once_and_remembers_what_it_replaced(fresh: Installed) -> None:
    fresh.guard.install()
    assert fresh.hooks == [fresh.guard._audit]
    replaced = {id(old) for old, _ in fresh.replaced}
    assert len(replaced) == len(fresh.replaced), "each function once"
    by_name = {old.__name__: (old, new) for old, new in fresh.replaced}
    for module, name in ((time, "time"), (time, "sleep"), (uuid, "uuid1"), (random, "random")):
        old, new = by_name[name]
        assert old.__name__ == inspect.unwrap(getattr(module, name)).__name__
        found = getattr(getattr(fresh, module.__name__), name)
        assert found is new


def test_nothing_is_added_to_what_is_wrapped(fresh: Installed) -> None:
    for module in (time, random, uuid, secrets, os, threading, platform, tempfile):
        copy = getattr(fresh, module.__name__)
        assert set(copy.__dict__) <= set(module.__dict__)


def test_wrapped_functions_are_as_good_as_methods_as_the_originals(fresh: Installed) -> None:
    kept: Any = type("Kept", (), {"convert": fresh.time.gmtime, "make": fresh.uuid.uuid4})()
    assert kept.convert(0).tm_year == 1970, "a builtin is no method"
    with pytest.raises(TypeError, match="positional"):
        kept.make()
    for mine, real in (
        (fresh.threading.Thread.start, threading.Thread.start),
        (fresh.time.gmtime, time.gmtime),
    ):
        assert (mine.__module__, mine.__qualname__) == (real.__module__, real.__qualname__)


FILES = (
    "open os.listdir os.scandir os.walk os.fwalk os.mkdir os.remove os.rename os.rmdir os.chmod os.chown os.link"
    " os.symlink os.truncate os.utime os.chdir os.getxattr os.listxattr"
    " shutil.copyfile shutil.copymode shutil.copystat shutil.copytree"
    " shutil.move shutil.rmtree shutil.make_archive shutil.unpack_archive tempfile.mkdtemp"
    " tempfile.mkstemp glob.glob glob.glob/2 pathlib.Path.glob pathlib.Path.rglob mmap.__new__"
)
NETWORK = (
    "socket.__new__ socket.connect socket.bind socket.sendto socket.sendmsg socket.getaddrinfo"
    " socket.gethostbyname socket.gethostbyaddr socket.gethostname socket.getnameinfo urllib.Request"
    " http.client.connect http.client.send ftplib.connect smtplib.connect imaplib.open poplib.connect"
    " telnetlib.Telnet.open webbrowser.open"
)
PROCESSES = (
    "subprocess.Popen os.system os.exec os.fork os.forkpty os.spawn os.posix_spawn os.startfile os.kill"
    " os.killpg pty.spawn"
)
EVENTS = [
    *((event, "files can change between replays") for event in FILES.split()),
    *((event, "network I/O differs on replay") for event in NETWORK.split()),
    *((event, "processes run outside the workflow") for event in PROCESSES.split()),
    ("sqlite3.connect", "a database's content can change"),
    ("builtins.input", "wait for a signal or an update"),
    ("os.putenv", "the environment can differ"),
    ("os.unsetenv", "the environment can differ"),
]


@pytest.mark.parametrize(("event", "advice"), EVENTS)
def test_what_the_interpreter_reports_is_refused(event: str, advice: str, fresh: Installed) -> None:
    known = {"open": "Opening a file", "socket.__new__": "Opening a socket"}
    for report in (sys.audit, fresh.hooks[0]):
        said = refused(lambda report=report: report(event, ("somewhere",)))
        assert said.startswith(f"{known.get(event, f'{event}()')} in workflow Calls (")
        assert advice in said
        assert "test_guard_tables.py" in said


@pytest.mark.parametrize("event", ["compile", "exec", "object.__getattr__", "perdure.unknown"])
def test_other_reports_of_the_interpreter_are_let_through(event: str) -> None:
    assert run(lambda: sys.audit(event)) is None


# The process and its machine ----------------------------------------------------------------------

PROCESS = (
    "getpid getppid getpgrp getlogin uname getcwd getcwdb cpu_count process_cpu_count sched_getaffinity"
    " getloadavg times"
)
PLATFORM = (
    "uname node platform system release version machine processor architecture libc_ver mac_ver win32_ver"
    " freedesktop_os_release"
)


@pytest.mark.parametrize("name", [name for name in PROCESS.split() if hasattr(os, name)])
def test_facts_of_the_process_are_refused(name: str, fresh: Installed) -> None:
    arguments = (0,) if name == "sched_getaffinity" else ()
    said = refused(lambda: getattr(fresh.os, name)(*arguments))
    assert said.startswith(f"os.{name}() in workflow Calls (")
    assert "ask in an activity" in said


@pytest.mark.parametrize("name", ["stat", "lstat", "access", "readlink", "statvfs"])
def test_facts_of_files_are_refused(name: str, fresh: Installed) -> None:
    arguments = (os.R_OK,) if name == "access" else ()
    said = refused(lambda: getattr(fresh.os, name)("/", *arguments))
    assert said.startswith(f"os.{name}() in workflow Calls (")
    assert "read and write them in an activity" in said


@pytest.mark.parametrize("name", PLATFORM.split())
def test_facts_of_the_machine_are_refused(name: str, fresh: Installed) -> None:
    said = refused(getattr(fresh.platform, name))
    assert said.startswith(f"platform.{name}() in workflow Calls (")
    assert "ask in an activity" in said


MORE: dict[str, Callable[[Any], Any]] = {
    "threading.get_ident()": lambda it: it.threading.get_ident(),
    "threading.get_native_id()": lambda it: it.threading.get_native_id(),
    "tempfile.gettempdir()": lambda it: it.tempfile.gettempdir(),
    "uuid.getnode()": lambda it: it.uuid.getnode(),
    "uuid.uuid1()": lambda it: it.uuid._generate_time_safe(),
    "os.getrandom()": lambda it: it.os.getrandom(2),
    "Starting a thread": lambda it: it._thread.start_new_thread(print, ()),
    "Submitting work to an executor": lambda it: pool(it).submit(print),
}


@pytest.mark.parametrize("call", MORE)
def test_other_facts_and_threads_are_refused(call: str, fresh: Installed) -> None:
    assert refused(lambda: MORE[call](fresh)).startswith(f"{call} in workflow Calls (")


def pool(fresh: Installed) -> Any:
    return fresh.concurrent.futures.ThreadPoolExecutor()


def test_what_only_the_standard_library_asks_is_let_through() -> None:
    assert run(lambda: threading.current_thread().name) == threading.current_thread().name
    with pytest.raises(NonDeterministicCall, match=r"os\.getcwd\(\)"):
        run(lambda: os.path.abspath("x"))  # noqa: PTH100


@pytest.mark.parametrize("name", ["send", "sendall", "recv", "recv_into", "accept"])
def test_an_open_connection_is_refused(name: str) -> None:
    here, there = socket.socketpair()
    with here, there:
        given: dict[str, Any] = {"recv": 1, "recv_into": bytearray(1), "accept": None}
        argument = given.get(name, b"x")
        arguments = () if argument is None else (argument,)
        said = refused(lambda: getattr(here, name)(*arguments))
        assert said.startswith(f"socket.{name}() in workflow Calls (")
        assert "network I/O differs on replay" in said
        here.send(b"x")
        assert there.recv(1) == b"x", "outside workflows"


@pytest.mark.parametrize("name", ["read", "write"])
def test_an_open_encrypted_connection_is_refused(name: str) -> None:
    run(lambda: None)
    closed = ssl.SSLSocket.__new__(ssl.SSLSocket)
    said = refused(lambda: getattr(closed, name)(b"x"))
    assert said.startswith(f"ssl.SSLSocket.{name}() in workflow Calls (")


@pytest.mark.parametrize("name", [*SOCKET_METHODS, *SSL_METHODS])
def test_every_method_of_a_connection_is_replaced(name: str, fresh: Installed) -> None:
    kind = fresh.socket.socket if name in SOCKET_METHODS else fresh.ssl.SSLSocket
    assert "network I/O differs on replay" in refused(lambda: getattr(kind, name)(None))


# More clocks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["process_time", "thread_time", "clock_gettime"])
def test_clocks_of_the_processor_tell_workflow_time(name: str, fresh: Installed) -> None:
    arguments = (time.CLOCK_MONOTONIC,) if name == "clock_gettime" else ()
    assert run(lambda: getattr(fresh.time, name)(*arguments)) == NOW_NS / 1e9
    assert run(lambda: getattr(fresh.time, f"{name}_ns")(*arguments)) == NOW_NS
    assert getattr(fresh.time, name)(*arguments) != NOW_NS / 1e9


@pytest.mark.parametrize("name", ["process_time", "thread_time"])
def test_a_loop_that_waits_for_cpu_time_ends(name: str, fresh: Installed) -> None:
    def readings() -> list[int]:
        read = getattr(fresh.time, f"{name}_ns")
        state = running_state()
        assert state is not None
        with state.as_read_only(query_or_validator=True):
            read()
        return [read(), read(), round(getattr(fresh.time, name)() * 1e6) * 1_000, read()]

    first, *later = run(readings)
    assert first == NOW_NS, "what a query reads does not count"
    assert [each - first for each in later] == [4_000, 8_000, 12_000]


def test_texts_of_now_are_those_of_workflow_time(fresh: Installed) -> None:
    now, first = time.localtime(NOW_NS / 1e9), time.gmtime(0)
    assert run(lambda: fresh.time.strftime("%c")) == time.strftime("%c", now)
    assert run(lambda: fresh.time.strftime("%c", first)) == time.strftime("%c", first)
    for none in ((), (None,)):
        assert run(lambda none=none: list(fresh.time.gmtime(*none))) == list(
            time.gmtime(NOW_NS / 1e9)
        )
        assert run(lambda none=none: fresh.time.ctime(*none)) == time.ctime(NOW_NS / 1e9)
    assert run(fresh.time.asctime) == time.asctime(now)
    assert run(lambda: fresh.time.asctime(first)) == time.asctime(first)


def test_what_was_replaced_in_classes_is_noted(fresh: Installed) -> None:
    names = {(cls.__name__, name) for cls, name in fresh.replaced_in_class}
    assert names == {
        ("Instant", "now"),
        ("Instant", "utcnow"),
        ("Random", "random"),
        ("Random", "getrandbits"),
        ("Random", "gauss"),
    }
