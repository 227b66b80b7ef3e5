"""Which reports of the interpreter are refused, for each kind of code that can cause them."""

from __future__ import annotations

import os
import random
import sys
import zoneinfo
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from perdure.core.units import SECOND_NS
from tests.unit.worker_host.guarded import NOW_NS, Installed, refused, run
from tests.unit.worker_host.test_origin import SITE, STDLIB, at

REPORTS = "def go(*report): sys.audit(*report)"
PLACES = {
    "user": "/app/orders.py",
    "library": SITE / "arrow" / "module.py",
    "python": STDLIB / "gettext.py",
    "exempt": STDLIB / "logging" / "handlers.py",
}
"""Where the code of a party is."""

DATA, OTHER = "/usr/share/dict/words", "/var/data.csv"
REFUSED_FOR: dict[tuple[Any, ...], str] = {
    ("open", OTHER, "r", 0): "user library",
    ("open", DATA, "r", 0): "user",
    ("open", 3, "r", 0): "user",
    ("os.listdir", OTHER): "user library",
    ("os.listdir", DATA): "user",
    ("os.walk",): "user library",
    ("socket.connect", None, DATA): "user library python",
    ("subprocess.Popen", DATA, "", "", None): "user library python",
    ("sqlite3.connect", DATA): "user library python",
    ("builtins.input", DATA): "user library python",
    ("os.putenv", b"A", b"1"): "user",
    ("os.unsetenv", b"A"): "user",
    ("compile", b"", DATA): "",
}


def reports_at(place: str) -> Any:
    """A function at the place of a party that makes a report of the interpreter."""
    function = at(PLACES[place], REPORTS, "arrow.module" if place == "library" else "")
    function.__globals__["sys"] = sys
    return function


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("report", REFUSED_FOR, ids=str)
def test_each_party_is_refused_what_is_not_its_own(report: tuple[Any, ...], place: str) -> None:
    does = reports_at(place)
    if place in REFUSED_FOR[report].split():
        refused(lambda: does(*report))
    else:
        assert run(lambda: does(*report)) is None


CALLS: dict[str, tuple[str, str]] = {
    "time.sleep(0)": ("time.sleep()", "user library python"),
    "threading.Thread(target=print).start()": ("Starting a thread", "user library python"),
    "socket.socket.recv(None, 1)": ("socket.recv()", "user library python"),
    "os.environ['PATH']": ("Reading os.environ", "user"),
    "os.getpid()": ("os.getpid()", "user"),
    "os.stat('/')": ("os.stat()", "user"),
    "os.urandom(1)": ("os.urandom()", "user"),
    "random.seed(1)": ("random.seed()", "user"),
}


@pytest.mark.parametrize("place", ["user", "library", "python"])
@pytest.mark.parametrize("call", CALLS)
def test_each_party_is_refused_the_calls_that_are_not_its_own(call: str, place: str) -> None:
    name, whose = CALLS[call]
    does = at(PLACES[place], f"def go(): {call}", "arrow.module" if place == "library" else "")
    if place in whose.split():
        assert refused(lambda: does()).startswith(f"{name} in workflow Calls (")  # noqa: PLW0108
    else:
        state = random.getstate()
        assert run(does) is None
        random.setstate(state)


CLOCKS = (
    "time.time()",
    "time.localtime() and time.mktime(time.localtime())",
    "datetime.now().timestamp()",
    "datetime.now(UTC).timestamp()",
    "datetime.utcnow().replace(tzinfo=UTC).timestamp()",
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("clock", CLOCKS)
def test_only_exempt_code_is_told_the_real_time(clock: str, place: str) -> None:
    module = "arrow.module" if place == "library" else ""
    read = at(PLACES[place], f"def go(): return int({clock})", module)
    read.__globals__.update(datetime=datetime, UTC=UTC)
    if place == "exempt":
        assert run(read) > NOW_NS // SECOND_NS + 86_400
    else:
        assert run(read) == NOW_NS // SECOND_NS


def test_the_database_of_time_zones_is_read_by_anybody() -> None:
    does = reports_at("user")
    root = zoneinfo.TZPATH[0]
    assert run(lambda: does("open", f"{root}{os.sep}Europe/Paris", "r", 0)) is None
    for path in (f"{root}2{os.sep}Paris", root, root.encode(), 3):
        assert "Opening a file" in refused(lambda path=path: does("open", path, "r", 0))
    assert "os.listdir()" in refused(lambda: does("os.listdir", f"{root}{os.sep}Europe"))


def test_a_report_after_the_module_was_cleared_is_let_through() -> None:
    """The interpreter sets the names of modules to None when it ends, and hooks remain."""
    fresh = Installed()
    fresh.guard._EVENTS = None
    assert run(lambda: fresh.hooks[0]("os.listdir", (OTHER,))) is None


def test_imports_are_noted_and_others_are_not() -> None:
    fresh = Installed()
    fresh.hooks[0]("import", ("json.tool", None, None, None, None))
    fresh.hooks[0]("compile", ("json.other",))
    assert fresh.imported == ["json.tool"]


def test_functions_that_the_platform_does_not_have_are_not_added() -> None:
    fresh, module = Installed(), SimpleNamespace()
    fresh.wrapping.forbid(module, "getlogin", "os.getlogin()", "")
    fresh.wrapping.redirect(module, "thread_time", print)
    assert vars(module) == {}
