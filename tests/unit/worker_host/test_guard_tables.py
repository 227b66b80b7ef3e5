"""The determinism guard's tables, one row after the other."""

from __future__ import annotations

import inspect
import os
import platform
import random
import secrets
import sys
import tempfile
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.worker_host.driver import SEED
from tests.unit.worker_host.guarded import NOW_NS, Installed, refused, run

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


FILES = (
    "open os.listdir os.scandir os.mkdir os.remove os.rename os.rmdir os.chmod os.chown os.link os.symlink"
    " os.truncate os.utime os.chdir shutil.copyfile shutil.copymode shutil.copystat shutil.copytree"
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
