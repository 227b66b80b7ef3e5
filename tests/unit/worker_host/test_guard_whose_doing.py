"""Whose doing a call is: the determinism guard refuses what workflow code does, and nothing else."""

from __future__ import annotations

import importlib
import os
import random
import secrets
import sys
import tempfile
import threading
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import perdure
from perdure import workflow
from perdure.worker.host import HostOptions
from perdure.worker.host.options import GuardPolicy
from tests.unit.worker_host.driver import Driver
from tests.unit.worker_host.guarded import NOW_NS, Installed, refused, run

if TYPE_CHECKING:
    from collections.abc import Iterator


STDLIB = Path(os.__file__).parent


def code_of(path: Path, source: str) -> Any:
    """A function `go` that seems to be in a file."""
    names: dict[str, Any] = {"__name__": path.stem}
    exec(compile(source, str(path), "exec"), names)
    return names["go"]


READS = "def go(environ): return environ['PATH']"


@pytest.mark.parametrize(
    "path",
    [
        *(STDLIB / name for name in ("linecache.py", "pdb.py", "bdb.py", "cmd.py")),
        STDLIB / "logging" / "handlers.py",
        Path("site-packages/_pytest/assertion/truncate.py"),
        Path(perdure.__file__),
    ],
    ids=lambda path: "/".join(path.parts[-2:]),
)
def test_diagnosis_and_the_library_are_let_through(path: Path) -> None:
    environ, read = Installed().os.environ, code_of(path, READS)
    assert run(lambda: read(environ)) == os.environ["PATH"]


@pytest.mark.parametrize(
    "path",
    [
        STDLIB / "logger.py",
        STDLIB / "json" / "pdb.py",
        STDLIB / "asyncio" / "example.py",
        Path("perdure_app/main.py"),
    ],
    ids=lambda path: "/".join(path.parts[-2:]),
)
def test_what_other_code_does_for_the_user_is_the_users_doing(path: Path) -> None:
    environ, read = Installed().os.environ, code_of(path, READS)
    assert "Reading os.environ" in refused(lambda: read(environ))


def test_the_time_of_a_log_record_is_the_worlds() -> None:
    fresh = Installed()
    source = "def go(clock): return clock()"
    for path in (STDLIB / "logging" / "__init__.py", Path(perdure.__file__)):
        look = code_of(path, source)
        assert run(lambda look=look: look(fresh.time.time)) > NOW_NS / 1e9 + 86_400
    look = code_of(STDLIB / "sched.py", source)
    assert run(lambda: look(fresh.time.time)) == NOW_NS / 1e9


def test_a_failing_assert_may_look_at_the_environment() -> None:
    def fail() -> None:
        assert list(range(3)) == list(range(4)), "the values"

    with pytest.raises(AssertionError, match="the values"):
        run(fail)


def test_a_module_that_is_imported_may_do_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "guard_imported.py").write_text(
        "import os, random\n"
        "PATH = os.environ['PATH']\n"
        "random.seed(1)\n"
        "with open(__file__) as file: SOURCE = file.read()\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    state = random.getstate()
    try:
        found = run(lambda: importlib.import_module("guard_imported").PATH)
    finally:
        random.setstate(state)
        sys.modules.pop("guard_imported", None)
    assert found == os.environ["PATH"]


def test_a_program_that_runs_while_it_is_imported_is_guarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some programs are started by an import: their whole run is one."""
    (tmp_path / "guard_program.py").write_text(
        "import os\n"
        "from tests.unit.worker_host.guarded import refused\n"
        "SAID = refused(lambda: os.environ['PATH'])\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    try:
        assert "guard_program.py" in importlib.import_module("guard_program").SAID
    finally:
        sys.modules.pop("guard_program", None)


SEEN: list[str] = []


@workflow.defn
class ReadsAtItsEnd:
    @workflow.run
    async def run(self) -> None:
        try:
            await workflow.sleep(60)
        finally:
            SEEN.append(os.environ["PATH"])


def test_a_run_that_is_evicted_may_do_anything() -> None:
    SEEN.clear()
    driver = Driver(ReadsAtItsEnd)
    driver.start()
    driver.host.close()
    assert [os.environ["PATH"]] == SEEN


# Warnings instead of errors -----------------------------------------------------------------------

WARN = HostOptions(guard=GuardPolicy.WARN)


@pytest.fixture
def heard() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield found


def calls(heard: list[warnings.WarningMessage]) -> list[str]:
    return [str(each.message).partition(" in workflow ")[0] for each in heard]


def test_a_warning_is_about_the_users_line(heard: list[warnings.WarningMessage]) -> None:
    assert run(lambda: os.environ["PATH"], WARN) == os.environ["PATH"]
    (warning,) = heard
    assert warning.category is RuntimeWarning
    assert warning.filename == __file__
    assert '`assert run(lambda: os.environ["PATH"], WARN) ==' in str(warning.message)


def test_what_a_call_does_after_its_warning_is_guarded_too(
    heard: list[warnings.WarningMessage],
) -> None:
    assert len(run(lambda: tempfile.gettempdir(), WARN)) > 0  # noqa: PLW0108
    assert calls(heard)[0] == "tempfile.gettempdir()"
    assert len(run(lambda: str(uuid.uuid1(node=1)), WARN)) == 36
    assert calls(heard)[-1] == "uuid.uuid1()"
    assert len(run(lambda: secrets.choice("ab"), WARN)) == 1
    assert "secrets.choice()" in calls(heard)
    assert calls(heard)[-1] == "random.SystemRandom"


@pytest.mark.parametrize(
    ("policy", "expected"), [(GuardPolicy.OFF, []), (GuardPolicy.WARN, ["open"])]
)
def test_files_are_read_where_the_guard_does_not_raise(
    policy: GuardPolicy, expected: list[str], heard: list[warnings.WarningMessage]
) -> None:
    assert run(lambda: len(Path(__file__).read_text()), HostOptions(guard=policy)) > 0
    assert [name for name in ("open",) if "Opening a file" in calls(heard)] == expected


def test_a_thread_is_warned_about_once(heard: list[warnings.WarningMessage]) -> None:
    """`threading` starts a thread for its caller by another guarded function."""
    assert run(lambda: threading.Thread(target=int).start(), WARN) is None
    assert calls(heard) == ["Starting a thread"]
