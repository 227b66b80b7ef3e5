"""Drives a workflow host by hand: activations in, commands out, no history and no server."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from perdure.converter import DataConverter
from perdure.exceptions import ApplicationError
from perdure.replay import commands, jobs
from perdure.replay.task import RunInfo
from perdure.wire.api import common, failure, history
from perdure.worker.host import HostOptions, WorkflowHost, WorkflowRegistry

_C = TypeVar("_C")

CONVERTER = DataConverter.default.payload_converter
START_NS = 1_700_000_000_000_000_000
SEED = 17
"""Of the run's random numbers."""


def payloads(*values: Any) -> list[common.Payload]:
    return CONVERTER.to_payloads(values) if values else []


def value(payload: common.Payload | None) -> Any:
    return None if payload is None else CONVERTER.from_payload(payload)


def failure_of(error: BaseException) -> failure.Failure:
    made = failure.Failure()
    DataConverter.default.failure_converter.to_failure(error, CONVERTER, made)
    return made


def activity_failure(message: str = "boom") -> failure.Failure:
    """What the server records for an activity that raised."""
    return failure.Failure(
        message="Activity task failed",
        activity_failure_info=failure.ActivityFailureInfo(activity_id="1"),
        cause=failure_of(ApplicationError(message)),
    )


def activity_cancelled() -> failure.Failure:
    return failure.Failure(
        message="Activity task failed",
        activity_failure_info=failure.ActivityFailureInfo(activity_id="1"),
        cause=failure.Failure(
            message="Cancelled", canceled_failure_info=failure.CanceledFailureInfo()
        ),
    )


class Driver:
    """One run of a workflow class. Methods return the commands of the activation."""

    opened: ClassVar[list[Driver]] = []

    def __init__(self, cls: type, options: HostOptions | None = None, type_name: str = "") -> None:
        registry = WorkflowRegistry([cls])
        self.type_name = type_name or (registry.names[0] if registry.names else "Anything")
        self.run = RunInfo(
            namespace="default",
            workflow_id="w",
            run_id="r",
            workflow_type=self.type_name,
            task_queue="queue",
        )
        self.host = WorkflowHost(
            registry.definition_for(self.type_name), self.run, options or HostOptions()
        )
        self.opened.append(self)
        self.now_ns = START_NS
        self.replaying = False
        self.flags: frozenset[int] = frozenset()
        self.used_flags: tuple[int, ...] = ()
        self.attributes = history.WorkflowExecutionStartedEventAttributes(
            attempt=1, original_execution_run_id="r", first_execution_run_id="r"
        )

    def activate(self, *given: jobs.Job) -> list[commands.Command]:
        self.now_ns += 1_000_000_000
        activation = jobs.Activation(
            run_id="r",
            time_ns=self.now_ns,
            is_replaying=self.replaying,
            history_length=3,
            jobs=given,
            available_flags=self.flags,
        )
        result = self.host.activate(activation)
        self.used_flags = tuple(result.used_flags)
        return list(result.commands)

    def init_job(self, *args: Any) -> jobs.InitializeWorkflow:
        return jobs.InitializeWorkflow(
            workflow_id="w",
            workflow_type=self.type_name,
            arguments=payloads(*args),
            randomness_seed=SEED,
            headers={},
            start_time_ns=START_NS,
            attributes=self.attributes,
        )

    def start(self, *args: Any, also: tuple[jobs.Job, ...] = ()) -> list[commands.Command]:
        return self.activate(self.init_job(*args), *also)

    def signal_job(self, name: str, *args: Any) -> jobs.SignalWorkflow:
        return jobs.SignalWorkflow(
            signal_name=name, input=payloads(*args), identity="", headers={}, event_id=5
        )

    def signal(self, name: str, *args: Any) -> list[commands.Command]:
        return self.activate(self.signal_job(name, *args))

    def update(self, name: str, *args: Any, validate: bool = True) -> list[commands.Command]:
        return self.activate(
            jobs.DoUpdate(
                id="u",
                protocol_instance_id="p",
                name=name,
                input=payloads(*args),
                headers={},
                identity="",
                run_validator=validate,
            )
        )

    def query(self, name: str, *args: Any) -> commands.QueryResult:
        (answer,) = self.activate(
            jobs.QueryWorkflow(query_id="q", query_type=name, arguments=payloads(*args), headers={})
        )
        assert isinstance(answer, commands.QueryResult)
        return answer

    def ask(self, name: str, *args: Any) -> Any:
        return value(self.query(name, *args).response)

    def complete_activity(self, seq: int, result: Any = None) -> list[commands.Command]:
        return self.activate(
            jobs.ResolveActivity(seq=seq, result=jobs.Completed(payloads(result)[0]))
        )

    def fire_timer(self, seq: int) -> list[commands.Command]:
        return self.activate(jobs.FireTimer(seq=seq))

    def cancel(self, reason: str = "") -> list[commands.Command]:
        return self.activate(jobs.CancelWorkflow(reason=reason))


def one(found: list[commands.Command], kind: type[_C]) -> _C:
    """The only command of a list, which must be of this kind."""
    (command,) = found
    assert isinstance(command, kind), command
    return command


def result(found: list[commands.Command]) -> Any:
    """The workflow's result, when the last command completes it."""
    assert isinstance(found[-1], commands.CompleteWorkflow), found
    return value(found[-1].result)


def names(found: list[commands.Command]) -> list[str]:
    return [type(command).__name__ for command in found]
