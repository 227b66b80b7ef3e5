"""The plugin, in pytest runs of its own: fixtures under both modes of pytest-asyncio, timelines of failing tests."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import perdure
from perdure.testing import WorkflowEnvironment
from perdure.testing.pytest_plugin import _Shown, _timelines

pytest_plugins = ["pytester"]

SOURCES = str(Path(perdure.__file__).parents[1])
# An installed package announces the plugin itself, and naming it twice is an error.
ANNOUNCED = any(point.name == "perdure" for point in entry_points(group="pytest11"))
PLUGIN = () if ANNOUNCED else ("-p", "perdure.testing.pytest_plugin")
TESTS = """
from __future__ import annotations
import gc, weakref
import pytest, pytest_asyncio
from perdure import activity, workflow

pytestmark = pytest.mark.asyncio
fixture = pytest_asyncio.fixture

@activity.defn
async def greet(name: str) -> str:
    return f"Hello, {name}"

@workflow.defn
class Greeting:
    @workflow.run
    async def run(self, name: str) -> str:
        await workflow.sleep(86_400)
        from datetime import timedelta
        return await workflow.execute_activity(greet, name, start_to_close_timeout=timedelta(5))

WORKERS = []

async def test_passes(perdure_client, perdure_worker, perdure_env):
    worker = await perdure_worker(Greeting, activities=[greet])
    assert worker.task_queue == "test_passes"
    other = await perdure_worker(Greeting, task_queue="mine", activities=[greet])
    assert other.task_queue == "mine"
    WORKERS.extend([worker, other])
    result = await perdure_client.execute_workflow(
        Greeting.run, "Ada", id="good", task_queue=worker.task_queue
    )
    assert result == "Hello, Ada"
    assert perdure_env.supports_time_skipping
    assert [each.is_running for each in WORKERS] == [True, True]

async def test_workers_have_ended():
    assert [each.is_running for each in WORKERS] == [False, False]

@fixture
async def between(perdure_env):
    # It ends after the workers and before the environment.
    yield
    WORKERS.append([each.is_running for each in WORKERS])

async def test_workers_end_first(between, perdure_worker):
    WORKERS.clear()
    WORKERS.append(await perdure_worker(Greeting, activities=[greet]))
    WORKERS.append(await perdure_worker(Greeting, task_queue="mine", activities=[greet]))

async def test_workers_have_ended_before_the_environment():
    assert WORKERS.pop() == [False, False]

ENVIRONMENTS = []

async def test_has_an_environment(perdure_env):
    ENVIRONMENTS.append(weakref.ref(perdure_env))

async def test_an_environment_is_let_go_of_with_its_test():
    gc.collect()
    assert ENVIRONMENTS[0]() is None

@fixture
async def broken(perdure_env):
    raise ValueError("a fixture that fails")

async def test_with_a_broken_fixture(broken): ...

async def test_fails(perdure_client, perdure_worker):
    worker = await perdure_worker(Greeting, activities=[greet])
    result = await perdure_client.execute_workflow(
        Greeting.run, "Bo", id="greeting-of-bo", task_queue=worker.task_queue
    )
    assert result == "Goodbye"

async def test_fails_without_a_run(perdure_env):
    assert perdure_env is None
"""


@pytest.fixture(autouse=True)
def sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """These runs have another working directory."""
    monkeypatch.setenv("PYTHONPATH", SOURCES)


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_fixtures_and_timelines(pytester: pytest.Pytester, mode: str) -> None:
    pytester.makepyfile(TESTS)
    pytester.makeini(
        f"[pytest]\nasyncio_mode = {mode}\nasyncio_default_fixture_loop_scope = function"
    )
    # The module of these tests can be loaded once in this process.
    run = pytester.runpytest_inprocess if mode == "auto" else pytester.runpytest_subprocess
    result = run(*PLUGIN, "-rP")
    result.assert_outcomes(passed=6, failed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*workflow runs of this test*",
            "Greeting  greeting-of-bo*completed after 1d*",
            "*timer 1d*",
            "*greet*Hello, Bo*",
            "*workflow runs of this test*",
            "*(no workflow was started)*",
        ]
    )
    text = result.stdout.str()
    assert "good" not in text, "a test that passes shows nothing"
    assert text.count("workflow runs of this test") == 2, "nor does one whose fixture fails"


def test_real_time_by_setting(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        async def test_real(perdure_env):
            assert not perdure_env.supports_time_skipping
        """
    )
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nperdure_environment = local"
    )
    pytester.runpytest_inprocess(*PLUGIN).assert_outcomes(passed=1)
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nperdure_environment = moon"
    )
    result = pytester.runpytest_inprocess(*PLUGIN)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*perdure_environment is 'moon'; it must be one of*"])


def test_without_pytest_asyncio_the_fixtures_are_those_of_pytest() -> None:
    code = (
        "import sys; sys.modules['pytest_asyncio'] = None;"
        "import perdure.testing.pytest_plugin as plugin; print(type(plugin.perdure_env).__module__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "_pytest.fixtures"


def test_timelines_of_an_environment_that_has_ended_are_said_to_be_missing() -> None:
    async def ended() -> _Shown:
        environment = await WorkflowEnvironment.start_time_skipping()
        shown = _Shown(environment)
        await environment.shutdown()
        return shown

    loop = asyncio.new_event_loop()
    try:
        shown = loop.run_until_complete(ended())
        assert _timelines(shown).startswith("(not available: RPCError: ")
    finally:
        loop.close()


def test_loading_the_plugin_loads_no_engine() -> None:
    code = (
        "import sys, perdure.testing.pytest_plugin;"
        "print(sorted(m for m in sys.modules if m.startswith(('perdure.server', 'perdure.client', 'grpc'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
