"""The examples of `examples/`, run as their READMEs say."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, running

pytestmark = [pytest.mark.e2e]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    with running(
        tmp_path_factory.mktemp("examples"),
        "examples.greeting.worker:worker",
        "examples.approval.worker:worker",
    ) as started:
        yield started


@pytest.fixture
def ledger(stack: Stack, tmp_path: Path) -> Generator[Path]:
    """A worker for orders whose activities leave their files in a folder of this test."""
    stack.environment["ORDER_LEDGER"] = str(tmp_path / "ledger")
    stack.start_worker("examples.order.worker:make_worker", name="orders")
    yield tmp_path / "ledger"
    stack.kill("orders")


def execute(stack: Stack, kind: str, queue: str, workflow_id: str, *inputs: str) -> tuple[str, ...]:
    words = [
        "workflow",
        "execute",
        "--type",
        kind,
        "--task-queue",
        queue,
        "--workflow-id",
        workflow_id,
    ]
    for text in inputs:
        words += ["--input", text]
    return tuple(words)


def test_greeting(stack: Stack):
    done = stack.cli(
        *execute(stack, "Greeting", "greetings", "greeting-1", '"World"'), "-o", "json"
    ).json
    assert done["status"] == "COMPLETED"
    assert done["result"] == "Hello, World!"
    timeline = stack.cli("workflow", "show", "--workflow-id", "greeting-1").stdout
    assert "✓ timer 10s" in timeline
    assert "✓ activity compose_greeting" in timeline
    assert '→ "Hello, World!"' in timeline


def test_order_rides_out_a_flaky_bank(stack: Stack, ledger: Path):
    order = '{"order_id": "1", "item": "flaky", "amount_cents": 4200}'
    done = stack.cli(
        *execute(stack, "OrderWorkflow", "orders", "order-1", order), "-o", "json"
    ).json
    assert done["result"] == "parcel-1"
    assert sorted(path.name for path in ledger.iterdir()) == [
        "1.charged",
        "1.reserved",
        "1.shipped",
    ]
    started = [
        event["activityTaskStartedEventAttributes"]
        for event in stack.events("order-1")
        if event["eventType"] == "EVENT_TYPE_ACTIVITY_TASK_STARTED"
    ]
    assert [event["attempt"] for event in started] == [1, 3, 1]
    progress = stack.cli(
        "workflow", "query", "--workflow-id", "order-1", "--name", "progress", "-o", "json"
    )
    assert progress.json == {"queryResult": "done"}


@pytest.mark.parametrize(
    ("number", "item", "cents", "reason"),
    [
        ("2", "unshippable", 4200, "no carrier takes it"),
        ("3", "yacht", 200_000, "credit limit exceeded"),
    ],
)
def test_order_undoes_what_it_did(
    stack: Stack, ledger: Path, number: str, item: str, cents: int, reason: str
):
    order = f'{{"order_id": "{number}", "item": "{item}", "amount_cents": {cents}}}'
    done = stack.try_cli(*execute(stack, "OrderWorkflow", "orders", f"order-{number}", order))
    assert done.returncode == 5
    assert reason in done.stderr
    assert list(ledger.iterdir()) == []


def test_approval_by_signal(stack: Stack):
    stack.cli(
        "workflow", "start", "--type", "Approval", "--task-queue", "approvals", "--workflow-id", "holiday-7",
        "--input", '{"what": "two weeks in May"}',
    )  # fmt: skip
    asked = stack.cli("workflow", "query", "--workflow-id", "holiday-7", "--name", "status")
    assert asked.stdout.strip() == '"waiting"'
    stack.cli(
        "workflow", "signal", "--workflow-id", "holiday-7", "--name", "approve", "--input", '"Ada"'
    )
    result = stack.cli("workflow", "result", "--workflow-id", "holiday-7", "-o", "json").json
    assert result["result"] == "approved by Ada"


def test_approval_expires(stack: Stack):
    request = '{"what": "a yacht", "patience_seconds": 0.5}'
    done = stack.cli(
        *execute(stack, "Approval", "approvals", "yacht-1", request), "-o", "json"
    ).json
    assert done["result"] == "expired"
