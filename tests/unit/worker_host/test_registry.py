"""Dynamic workflows that configure each run, and what a registry of workflows refuses."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from perdure import workflow
from perdure.common import RawValue, VersioningBehavior
from perdure.exceptions import ApplicationError
from perdure.replay import commands, jobs
from perdure.worker.host import WorkflowRegistry
from tests.unit.worker_host.driver import Driver, one


@workflow.defn
class Does:
    @workflow.run
    async def run(self) -> None: ...


@workflow.defn(dynamic=True)
class Configured:
    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> None:
        raise LookupError(f"{len(args)} arguments")

    @workflow.dynamic_config
    def config(self) -> workflow.DynamicWorkflowConfig:
        return workflow.DynamicWorkflowConfig(
            failure_exception_types=[LookupError],
            versioning_behavior=VersioningBehavior.PINNED,
        )


def test_a_dynamic_workflow_says_which_errors_fail_it() -> None:
    run = Driver(Configured, type_name="Anything")
    run.now_ns += 1
    given = run.host.activate(
        jobs.Activation(
            run_id="r", time_ns=run.now_ns, is_replaying=False, history_length=1,
            jobs=(run.init_job(1, 2),),
        )
    )  # fmt: skip
    assert one(list(given.commands), commands.FailWorkflow).failure.message == "2 arguments"
    assert given.versioning_behavior == int(VersioningBehavior.PINNED)


@workflow.defn(name="Does")
class Again:
    @workflow.run
    async def run(self) -> None: ...


@workflow.defn(dynamic=True)
class OtherDynamic:
    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> None: ...


def test_a_registry_refuses_two_of_a_name() -> None:
    with pytest.raises(ValueError, match="More than one workflow named Does"):
        WorkflowRegistry([Does, Again])
    with pytest.raises(ValueError, match="More than one dynamic workflow"):
        WorkflowRegistry([Configured, OtherDynamic])
    both = WorkflowRegistry([Does, Configured])
    assert both.definition_for("Does").cls is Does
    assert both.definition_for("Unheard").cls is Configured
    with pytest.raises(ApplicationError, match="Unheard is not registered") as caught:
        WorkflowRegistry([Does]).definition_for("Unheard")
    assert caught.value.type == "NotFoundError"
    assert str(caught.value).endswith("available workflows: Does")
    with pytest.raises(ApplicationError, match=r"available workflows: none$"):
        WorkflowRegistry([]).definition_for("Unheard")


def test_names_are_in_order_and_the_dynamic_class_comes_last() -> None:
    registry = WorkflowRegistry([OtherDynamic, Late, Early])
    assert list(registry.names) == ["early", "late"]
    found = [definition.cls for definition in registry.definitions]
    assert found == [Late, Early, OtherDynamic]


@workflow.defn(name="late")
class Late:
    @workflow.run
    async def run(self) -> None: ...


@workflow.defn(name="early")
class Early:
    @workflow.run
    async def run(self) -> None: ...
