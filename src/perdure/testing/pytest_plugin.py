"""The pytest plugin: an environment, a client and workers as fixtures; a failing test shows its runs as timelines.

    async def test_order(perdure_client, perdure_worker):
        worker = await perdure_worker(Order, activities=[charge])
        assert await perdure_client.execute_workflow(
            Order.run, "order-7", id="order-7", task_queue=worker.task_queue
        ) == "paid"

The fixtures are `perdure_env`, `perdure_client` and `perdure_worker`; each test has its own. The setting
`perdure_environment` in pytest's configuration is `time-skipping` (the default) or `local`, which is real time.

Invariant: loading the plugin loads no engine, so that it costs other tests nothing. The fixtures are async:
pytest-asyncio runs them, in either of its modes.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from perdure.client import Client
    from perdure.testing import WorkflowEnvironment
    from perdure.worker import Worker

F = TypeVar("F")

RUNS_SHOWN_MAX = 5
WIDTH_COLUMNS = 110
PATIENCE_S = 10.0
SETTING = "perdure_environment"


class _Shown:
    """The environment of a test, and the loop on which it runs."""

    def __init__(self, environment: WorkflowEnvironment) -> None:
        self.environment = environment
        self.loop = asyncio.get_running_loop()


_KEY: pytest.StashKey[_Shown] = pytest.StashKey()


def _async_fixture(function: F) -> F:
    """A fixture for both modes of pytest-asyncio. In strict mode it runs only fixtures made with its own decorator."""
    module: Any = pytest
    if find_spec("pytest_asyncio") is not None:
        module = import_module("pytest_asyncio")
    return module.fixture(function)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The setting."""
    parser.addini(
        SETTING,
        "Environment of the fixture perdure_env: time-skipping or local.",
        default="time-skipping",
    )


@_async_fixture
async def perdure_env(request: pytest.FixtureRequest) -> AsyncGenerator[WorkflowEnvironment]:
    """An environment for this test alone, in this process."""
    from perdure.testing import WorkflowEnvironment

    starts: dict[str, Callable[[], Awaitable[WorkflowEnvironment]]] = {
        "time-skipping": WorkflowEnvironment.start_time_skipping,
        "local": WorkflowEnvironment.start_local,
    }
    wanted = str(request.config.getini(SETTING))
    if wanted not in starts:
        raise pytest.UsageError(f"{SETTING} is {wanted!r}; it must be one of {', '.join(starts)}")
    async with await starts[wanted]() as environment:
        request.node.stash[_KEY] = _Shown(environment)
        try:
            yield environment
        finally:
            del request.node.stash[_KEY]


@_async_fixture
async def perdure_client(perdure_env: WorkflowEnvironment) -> Client:
    """A client of `perdure_env`."""
    return perdure_env.client


@_async_fixture
async def perdure_worker(
    perdure_env: WorkflowEnvironment, request: pytest.FixtureRequest
) -> AsyncGenerator[Callable[..., Awaitable[Worker]]]:
    """A function that starts workers for the test. It is async.

    Workflow classes come first, and the other arguments are those of `Worker`. Default task queue: one named after the
    test. The workers end with the test.
    """
    from perdure.worker import Worker

    async with AsyncExitStack() as workers:

        async def start(*workflows: type, task_queue: str = "", **options: Any) -> Worker:
            worker = Worker(
                perdure_env.client,
                task_queue=task_queue or request.node.name,
                workflows=workflows,
                **options,
            )
            return await workers.enter_async_context(worker)

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the timelines of a failed test's runs to its report, before the environment ends."""
    report = yield
    shown = item.stash.get(_KEY, None)
    if shown is not None and call.when == "call" and report.failed:
        report.sections.append(("workflow runs of this test", _timelines(shown)))
    return report


def _timelines(shown: _Shown) -> str:
    """The timelines as text, or why there are none. Never raises, because the test has already failed."""
    if shown.loop.is_running() or shown.loop.is_closed():
        return "(not available: the event loop of the environment cannot be used now)"
    try:
        return shown.loop.run_until_complete(
            asyncio.wait_for(timelines(shown.environment), PATIENCE_S)
        )
    except Exception as error:  # noqa: BLE001 - the failure of the test matters more
        return f"(not available: {type(error).__name__}: {error})"


async def timelines(environment: WorkflowEnvironment) -> str:
    """The newest runs of an environment as timelines.

    Args:
        environment: The environment. On a shared server this may show runs of other tests.
    """
    from perdure.rendering.timeline import Style, render
    from perdure.wire.api import history

    client = environment.client
    found = [run async for run in client.list_workflows(limit=RUNS_SHOWN_MAX + 1)]
    now_ns = int((await environment.get_current_time()).timestamp() * 10**9)
    drawn: list[str] = []
    for run in reversed(found[:RUNS_SHOWN_MAX]):
        recorded = await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
        events = history.History(events=recorded.events)
        drawn.append(render(events, style=Style(width=WIDTH_COLUMNS), now_ns=now_ns))
    if len(found) > RUNS_SHOWN_MAX:
        drawn.insert(0, f"(the newest {RUNS_SHOWN_MAX} of more runs)")
    return "\n\n".join(drawn) or "(no workflow was started)"
