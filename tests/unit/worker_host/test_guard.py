"""The determinism guard: the five pitfalls of workflow code, and that nothing else is touched."""

# ruff: noqa: DTZ003, DTZ005, DTZ006

from __future__ import annotations

import asyncio
import datetime  # noqa: ICN001
import linecache
import logging
import os
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request
import uuid
from datetime import datetime as dt
from pathlib import Path
from typing import Any, ClassVar

import pytest

from perdure import workflow
from perdure.worker.host import HostOptions
from perdure.worker.host.options import GuardPolicy
from perdure.worker.host.scan import scan_class
from perdure.workflow import NonDeterministicCall
from tests.unit.worker_host.driver import START_NS, Driver, names, result

PITFALLS: dict[str, Any] = {}


@workflow.defn
class Calls:
    """Runs the function that the test asks for, inside a workflow."""

    @workflow.run
    async def run(self, name: str) -> Any:
        return PITFALLS[name]()


@workflow.defn(sandboxed=False)
class Unguarded:
    @workflow.run
    async def run(self, name: str) -> Any:
        return PITFALLS[name]()


def run(function: Any, cls: type = Calls, options: HostOptions | None = None) -> Any:
    PITFALLS["it"] = function
    return result(Driver(cls, options).start("it"))


# 1. Randomness ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "draw",
    [
        lambda: random.random(),  # noqa: PLW0108
        lambda: random.randint(1, 10**9),
        lambda: random.sample(range(1000), 5),
        lambda: str(uuid.uuid4()),
    ],
)
def test_random_numbers_are_the_workflows_own(draw: Any) -> None:
    assert run(draw) == run(draw)


@pytest.mark.parametrize(
    ("draw", "advice"),
    [
        (lambda: secrets.token_hex(), "draw them in an activity"),  # noqa: PLW0108
        (lambda: os.urandom(4), "workflow.random()"),
        (lambda: uuid.uuid1(), "workflow.uuid4()"),  # noqa: PLW0108
        (lambda: random.seed(1), "workflow.new_random"),
    ],
)
def test_randomness_without_a_deterministic_answer_is_refused(draw: Any, advice: str) -> None:
    with pytest.raises(NonDeterministicCall, match=r"test_guard\.py") as caught:
        run(draw)
    assert advice in str(caught.value)


# 2. The current time ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "clock",
    [lambda: time.time(), lambda: time.monotonic(), lambda: time.perf_counter()],  # noqa: PLW0108
)
def test_clocks_tell_workflow_time(clock: Any) -> None:
    assert run(clock) == START_NS / 1e9 + 1


def test_local_time_without_an_argument_is_workflow_time() -> None:
    assert run(lambda: time.gmtime().tm_year) == 2023
    assert run(lambda: time.gmtime(0).tm_year) == 1970


@workflow.defn
class ReadsTheClock:
    @workflow.run
    async def run(self) -> list[str]:
        return [str(dt.now(datetime.UTC)), str(dt.utcnow()), str(datetime.datetime.now())]  # pyright: ignore[reportDeprecated]


@workflow.defn
class ReadsTheClockOnPurpose:
    @workflow.run
    async def run(self) -> float:
        with workflow.unsafe.sandbox_unrestricted():
            return datetime.datetime.now().timestamp()


def test_datetime_tells_workflow_time() -> None:
    aware, utc, local = result(Driver(ReadsTheClock).start())
    assert aware == "2023-11-14 22:13:21+00:00"
    assert utc == "2023-11-14 22:13:21"
    assert local == str(dt.fromtimestamp(START_NS / 1e9 + 1))


def test_a_class_of_ones_own_tells_it_too() -> None:
    class Moment(dt):
        pass

    made = run(lambda: [type(Moment.now()).__name__, str(Moment.now(tz=datetime.UTC))])
    assert made == ["Moment", "2023-11-14 22:13:21+00:00"]


def test_datetime_is_as_before_outside_workflows() -> None:
    assert abs(dt.now(datetime.UTC).timestamp() - time.time()) < 60
    assert dt.now.__name__ == "now"
    assert dt.now.__doc__
    with pytest.raises(TypeError):
        dt.now("no zone")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError):
        run(lambda: dt.now("no zone"))  # pyright: ignore[reportArgumentType]


def test_what_is_done_on_purpose_is_let_through() -> None:
    assert result(Driver(ReadsTheClockOnPurpose).start()) > START_NS / 1e9 + 86_400


# 3. Direct I/O and blocking -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda: time.sleep(0), "await workflow.sleep"),
        (lambda: open(__file__), "activity"),  # noqa: PTH123, SIM115
        (lambda: Path(__file__).read_text(), "activity"),
        (lambda: os.listdir("."), "activity"),  # noqa: PTH208
        (lambda: tempfile.mkdtemp(), "activity"),  # noqa: PLW0108
        (lambda: socket.socket(), "activity"),  # noqa: PLW0108
        (lambda: socket.getaddrinfo("localhost", 1), "activity"),
        (lambda: urllib.request.urlopen("http://localhost:1"), "activity"),
        (lambda: subprocess.run(["true"], check=True), "activity"),
        (lambda: os.system("true"), "activity"),  # pyright: ignore[reportDeprecated]
        (lambda: threading.Thread(target=print).start(), "activity"),
        (lambda: asyncio.get_running_loop().run_in_executor(None, print), "activity"),
    ],
)
def test_io_is_refused_with_the_users_line(call: Any, advice: str) -> None:
    with pytest.raises(NonDeterministicCall) as caught:
        run(call)
    assert advice in str(caught.value)
    assert "test_guard.py" in str(caught.value)


# 4. Environment and module state ------------------------------------------------------------------


@pytest.mark.parametrize(
    "read", [lambda: os.environ["PATH"], lambda: os.getenv("PATH"), lambda: list(os.environ)]
)
def test_the_environment_is_refused(read: Any) -> None:
    with pytest.raises(NonDeterministicCall, match="environment"):
        run(read)


COUNTERS: dict[str, int] = {}
SEEN: list[str] = []


@workflow.defn
class SharesState:
    names: ClassVar[list[str]] = []

    @workflow.run
    async def run(self) -> None:
        COUNTERS["runs"] = 1
        SEEN.append("x")
        local: list[str] = []
        local.append("fine")
        for _ in set("ab"):
            pass
        for _ in sorted({1, 2}):
            pass


def test_module_state_and_set_order_are_reported() -> None:
    findings = scan_class(SharesState)
    assert [f.what.split("`")[1] if "`" in f.what else "set" for f in findings] == [
        "COUNTERS",
        "SEEN",
        "set",
    ]
    source = Path(__file__).read_text().splitlines()
    assert 'COUNTERS["runs"] = 1' in source[findings[0].line - 1]


# 5. Unordered iteration ---------------------------------------------------------------------------


@workflow.defn
class WaitsForMany:
    @workflow.run
    async def run(self, how: str) -> list[int]:
        tasks = [asyncio.create_task(self.number(n)) for n in range(50)]
        if how == "wait":
            done, pending = await asyncio.wait(tasks)
            assert not pending
            assert done == set(tasks)
            return [task.result() for task in done]
        return [await earliest for earliest in asyncio.as_completed(tasks)]

    async def number(self, n: int) -> int:
        await asyncio.sleep(0)
        return n


@pytest.mark.parametrize("how", ["wait", "as_completed"])
def test_waiting_for_many_keeps_their_order(how: str) -> None:
    assert result(Driver(WaitsForMany).start(how)) == list(range(50))


# Names bound before the guard came ----------------------------------------------------------------

EARLY = """
from asyncio import wait_for
from random import random
from time import time
from perdure import workflow

class Early:
    @workflow.run
    async def run(self) -> list:
        return [random(), time(), wait_for.__name__]
"""

FRESH = """
import sys
sys.path.insert(0, sys.argv[1])
import early
from perdure import workflow
from tests.unit.worker_host.driver import START_NS, Driver, result
workflow.defn(early.Early)
before = id(early.time)
first, second = (result(Driver(early.Early).start()) for _ in range(2))
assert first == second, (first, second)
assert first[1] == START_NS / 1e9 + 1
assert id(early.time) != before
assert early.time() > 1.7e9 + 1000
"""


def test_functions_imported_by_name_are_replaced_as_well(tmp_path: Path) -> None:
    (tmp_path / "early.py").write_text(EARLY)
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
    finished = subprocess.run(
        [sys.executable, "-c", FRESH, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr


# Only workflow code, and only when asked ----------------------------------------------------------


def test_nothing_changes_outside_workflows() -> None:
    assert abs(time.time() - time.clock_gettime(time.CLOCK_REALTIME)) < 60
    assert uuid.uuid4() != uuid.uuid4()
    assert os.getenv("PATH") == os.environ["PATH"]
    assert Path(__file__).exists()


def test_an_unguarded_workflow_may_do_anything() -> None:
    assert run(lambda: os.environ["PATH"], Unguarded) == os.environ["PATH"]


def test_the_guard_can_warn_instead() -> None:
    with pytest.warns(RuntimeWarning, match="environment"):
        found = run(lambda: os.environ["PATH"], options=HostOptions(guard=GuardPolicy.WARN))
    assert found == os.environ["PATH"]


def test_imports_and_logging_are_not_the_workflows_doing(tmp_path: Path) -> None:
    log = logging.getLogger("test_guard")
    log.setLevel(logging.INFO)
    log.propagate = False
    handler = logging.FileHandler(tmp_path / "log", delay=True)
    log.addHandler(handler)

    def work() -> str:
        import colorsys  # the import itself is what is tested

        log.info("inside")
        return colorsys.__name__

    try:
        assert run(work) == "colorsys"
    finally:
        log.removeHandler(handler)
        handler.close()
    assert (tmp_path / "log").read_text() == "inside\n"


def test_tracebacks_and_warnings_may_read_source_files() -> None:
    def work() -> str:
        linecache.clearcache()
        try:
            raise KeyError("k")  # noqa: TRY301
        except KeyError:
            return traceback.format_exc()

    assert 'raise KeyError("k")' in run(work)


def test_a_failing_workflow_can_format_its_traceback() -> None:
    def fail() -> None:
        raise workflow.NondeterminismError("not a failure") from None

    with pytest.raises(workflow.NondeterminismError):
        run(fail)
    from perdure.exceptions import ApplicationError

    def fail_for_good() -> None:
        raise ApplicationError("bad")

    PITFALLS["it"] = fail_for_good
    assert names(Driver(Calls).start("it")) == ["FailWorkflow"]


def test_a_wrapped_builtin_is_no_method_of_a_class() -> None:
    """As in `logging.Formatter.converter = time.gmtime`, which many programs do."""

    clocks: Any = type("Clocks", (), {"converter": time.gmtime, "now": time.time})()
    assert clocks.converter(0).tm_year == 1970
    assert clocks.now() > 0
    assert time.gmtime.__name__ == "gmtime"
