"""Whose doing a call is: the user's, a library's, or that of code which serves the worker."""

from __future__ import annotations

import os
import random
import socket
import sys
import sysconfig
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perdure.worker.host import origin
from tests.unit.worker_host.driver import SEED
from tests.unit.worker_host.guarded import NOW_NS, refused, run

if TYPE_CHECKING:
    from collections.abc import Callable

STDLIB = Path(os.__file__).parent
SITE = Path("/somewhere/site-packages")
ENVIRON = "def go(): return os.environ['PATH']"
CLOCK = "def go(): return time.time()"
CALL = "def go(call): return call()"


def at(path: Path | str, source: str, module: str = "", name: str = "go") -> Any:
    """A function that seems to be in a file of a module."""
    names: dict[str, Any] = {
        "__name__": module or Path(path).stem,
        "os": os,
        "time": time,
        "random": random,
        "socket": socket,
        "threading": threading,
    }
    exec(compile(source.replace("def go(", f"def {name}("), str(path), "exec"), names)
    return names[name]


def of(package: str, source: str, name: str = "go") -> Any:
    """A function of an installed package."""
    return at(SITE / package / "module.py", source, f"{package}.module", name)


def reads_environment() -> str:
    return os.environ["PATH"]


# The environment ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        SITE / "arrow" / "parser.py",
        SITE / "six.py",
        Path("/usr/lib/python3/dist-packages/arrow/parser.py"),
        Path("/venv/lib/site-packages/a/site-packages/arrow/parser.py"),
    ],
    ids=str,
)
def test_a_library_may_read_the_environment(path: Path) -> None:
    assert run(at(path, ENVIRON)) == os.environ["PATH"]


def test_a_library_may_read_it_by_the_standard_library() -> None:
    expands = of("arrow", "def go(): return os.path.expanduser('~')")
    assert run(expands) == os.path.expanduser("~")  # noqa: PTH111


@pytest.mark.parametrize(
    "package",
    [
        "appdirs",
        "cpuinfo",
        "decouple",
        "distro",
        "dotenv",
        "dynaconf",
        "environ",
        "environs",
        "getmac",
        "ifaddr",
        "machineid",
        "netifaces",
        "platformdirs",
        "psutil",
        "pydantic_settings",
    ],
)
def test_packages_that_tell_about_the_world_act_for_their_caller(package: str) -> None:
    assert "Reading os.environ" in refused(of(package, ENVIRON))
    by_library = of("arrow", CALL)
    assert run(lambda: by_library(of(package, ENVIRON))) == os.environ["PATH"]


def test_the_workflows_own_package_is_the_users_wherever_it_is_installed() -> None:
    assert "Reading os.environ" in refused(of("tests", ENVIRON))
    assert run(of("tests2", ENVIRON)) == os.environ["PATH"]


def test_a_script_belongs_to_the_package_that_it_was_started_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    origin.own_packages.cache_clear()
    main: Any = sys.modules["__main__"]
    monkeypatch.setattr(main, "__spec__", type(sys)("spec"))
    monkeypatch.setattr(main.__spec__, "name", "shop.worker", raising=False)
    assert origin.own_packages("__main__") == {"__main__", "shop"}
    assert origin.own_packages("shop.orders") == {"shop"}
    origin.own_packages.cache_clear()
    monkeypatch.setattr(main, "__spec__", None)
    assert origin.own_packages("__main__") == {"__main__"}
    origin.own_packages.cache_clear()


@pytest.mark.parametrize("name", ["<string>", "<attrs generated init shop.Order>", "<stdin>"])
def test_generated_code_acts_for_its_caller(name: str) -> None:
    assert "Reading os.environ" in refused(at(name, ENVIRON))
    by_library = of("arrow", CALL)
    assert run(lambda: by_library(at(name, ENVIRON))) == os.environ["PATH"]


OWN = (
    "_strptime argparse ast ctypes dis doctest encodings gettext importlib inspect locale mimetypes optparse pkgutil"
    " pydoc site ssl sysconfig tokenize typing unittest zoneinfo"
)


@pytest.mark.parametrize("module", OWN.split())
def test_some_modules_of_the_standard_library_act_for_themselves(
    module: str, tmp_path: Path
) -> None:
    (tmp_path / "data").write_text("data")
    for path in (STDLIB / f"{module}.py", STDLIB / module / "inner.py"):
        assert run(at(path, ENVIRON)) == os.environ["PATH"]
        opens = at(path, "def go(path):\n    with open(path) as file: return file.read()")
        assert run(lambda opens=opens: opens(tmp_path / "data")) == "data"
        assert "Opening a socket" in refused(at(path, "def go(): socket.socket()"))


@pytest.mark.parametrize("path", ["mailbox.py", "json/typing.py", "zoneinfos.py"])
def test_the_others_act_for_their_caller(path: str) -> None:
    assert "Reading os.environ" in refused(at(STDLIB / path, ENVIRON))


# Diagnosis and observation ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "module",
    [
        "bdb",
        "cmd",
        "cProfile",
        "linecache",
        "logging",
        "pdb",
        "platform",
        "profile",
        "trace",
        "traceback",
        "warnings",
    ],
)
def test_diagnosis_is_exempt_with_all_that_it_calls(module: str) -> None:
    for path in (STDLIB / f"{module}.py", STDLIB / module / "inner.py"):
        assert run(at(path, CLOCK)) > NOW_NS / 1e9 + 86_400
        calls = at(path, CALL)
        assert run(lambda calls=calls: calls(reads_environment)) == os.environ["PATH"]


OBSERVERS = (
    "_pydev_bundle _pydevd_bundle coverage datadog ddtrace debugpy elasticapm execnet hypothesis logfire loguru memray"
    " newrelic opentelemetry prometheus_client pydevd pyinstrument sentry_sdk statsd structlog tqdm xdist"
)


@pytest.mark.parametrize("package", OBSERVERS.split())
def test_observers_are_exempt_but_not_the_user_code_that_they_call(package: str) -> None:
    assert run(of(package, CLOCK)) > NOW_NS / 1e9 + 86_400
    assert run(of(package, ENVIRON)) == os.environ["PATH"]
    decorated = of(package, CALL)
    assert "Reading os.environ" in refused(lambda: decorated(reads_environment))


EMITTERS = [
    ("loguru", "_log"),
    ("structlog", "_process_event"),
    ("opentelemetry", "on_end"),
    ("opentelemetry", "on_start"),
    ("opentelemetry", "generate_span_id"),
    ("opentelemetry", "generate_trace_id"),
    ("opentelemetry", "should_sample"),
    ("sentry_sdk", "capture_event"),
]


@pytest.mark.parametrize(("package", "name"), EMITTERS)
def test_what_an_emitting_observer_calls_is_exempt_as_well(package: str, name: str) -> None:
    emits = of(package, CALL, name)
    assert run(lambda: emits(reads_environment)) == os.environ["PATH"]
    other = of("arrow", CALL, name)
    assert "Reading os.environ" in refused(lambda: other(reads_environment))


# What a library may not do ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "call"),
    [
        ("socket.socket()", "Opening a socket"),
        ("threading.Thread(target=print).start()", "Starting a thread"),
        ("time.sleep(0)", "time.sleep()"),
        ("open('/var/data.csv')", "Opening a file"),
        ("os.listdir('/var')", "os.listdir()"),
        ("os.system('true')", "os.system()"),
    ],
)
def test_what_comes_from_outside_is_refused_for_libraries_too(body: str, call: str) -> None:
    does = of("arrow", f"def go(): {body}")
    said = refused(lambda: does())  # noqa: PLW0108  # a frame of the user's
    assert said.startswith(f"{call} in workflow Calls (")
    assert f", called by {__file__}:" in said


@pytest.mark.parametrize(
    "path",
    [
        __import__("pytz").__file__,
        "/etc/os-release",
        "/usr/share/dict/words",
        "/usr/lib/os-release",
        "/lib/terminfo",
        sysconfig.get_path("stdlib") + "/os.py",
        sysconfig.get_path("purelib") + "/x",
        f"{sys.prefix}/lib/x",
        f"{sys.base_prefix}/share/x",
        "~/.config/it/settings.toml",
        "~/Library/it",
        "~/AppData/it",
        "/app/vendor/site-packages/it/data.json",
        b"/etc/hosts",
        3,
    ],
    ids=str,
)
def test_files_where_libraries_keep_their_data(path: Any) -> None:
    given = os.path.expanduser(path) if isinstance(path, str) else path  # noqa: PTH111
    assert origin.is_library_data(given)


@pytest.mark.parametrize(
    "path",
    ["/var/data.csv", "data.csv", "~/data.csv", "/usr/src/app/data.csv", "/etcetera", b"/var/x"],
    ids=str,
)
def test_files_that_are_the_callers(path: Any) -> None:
    given = os.path.expanduser(path) if isinstance(path, str) else path  # noqa: PTH111
    assert not origin.is_library_data(given)


def test_a_path_in_the_current_folder_is_looked_at_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site-packages" / "it"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert origin.is_library_data("data.json")


# Random numbers -----------------------------------------------------------------------------------

DRAWS = "def go(): return random.random()"


def first_of(name: str) -> float:
    return random.Random(f"{SEED}/{name}").random()


def test_each_library_has_random_numbers_of_its_own() -> None:
    def work() -> list[float]:
        lent = of("arrow", CALL)
        return [of("arrow", DRAWS)(), of("six", DRAWS)(), random.random(), lent(random.random)]

    generator = random.Random(f"{SEED}/arrow")
    first = generator.random()
    assert run(work) == [
        first,
        first_of("six"),
        random.Random(SEED).random(),
        generator.random(),
    ]


def test_the_standard_library_draws_for_its_caller_or_for_itself() -> None:
    assert run(at(STDLIB / "mailbox.py", DRAWS)) == random.Random(SEED).random()
    assert run(at(STDLIB / "gettext.py", DRAWS)) == first_of("gettext")


def test_observers_draw_real_numbers() -> None:
    draws: Callable[[], float] = of("opentelemetry", DRAWS)
    assert len({run(draws), run(draws)}) == 2


def test_the_package_of_the_workflow_draws_the_runs_numbers() -> None:
    assert run(of("tests", DRAWS)) == random.Random(SEED).random()
