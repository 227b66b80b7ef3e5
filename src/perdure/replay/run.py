"""State of one run as the engine sees it: machines, queues, clock, patches.

Invariants: everything that creates commands or jobs iterates lists and insertion-ordered dicts;
time never goes backwards; a machine that nothing can name any more is forgotten, so a cached run
costs what is pending, not what has happened.

What is not here: applying events (`apply`, `matching`), taking commands (`intake`), tasks
and answers (`engine`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perdure.replay import commands as cmd
from perdure.replay import events as ev
from perdure.replay.buffer import HistoryBuffer
from perdure.replay.flags import Flag, Flags
from perdure.replay.jobs import (
    Activation,
    DeploymentVersion,
    DoUpdate,
    InitializeWorkflow,
    Job,
    NotifyHasPatch,
    QueryWorkflow,
    ResolveActivity,
    SignalWorkflow,
    UpdateRandomSeed,
)
from perdure.replay.machines.base import Outgoing
from perdure.replay.machines.local_activity import LocalActivities
from perdure.replay.machines.update import UpdateMachine
from perdure.replay.operations import Operations

if TYPE_CHECKING:
    from perdure.replay.machines.base import Machine
    from perdure.replay.machines.update import UpdateRequest
    from perdure.replay.task import EngineConfig, RunInfo
    from perdure.wire.api import common, history, protocol

_NAMED_BY_ANOTHER = frozenset(
    {ev.ACTIVITY_TASK_CANCEL_REQUESTED, ev.NEXUS_CANCEL_REQUESTED, ev.UPDATE_ACCEPTED}
)
"""Command events that no later event refers to: it names the operation's first event instead."""

_JOB_ORDER: dict[type, int] = {
    InitializeWorkflow: 0,
    NotifyHasPatch: 1,
    UpdateRandomSeed: 2,
    SignalWorkflow: 3,
    DoUpdate: 3,
    QueryWorkflow: 6,
}


def job_order(job: Job) -> int:
    """Sort key of a job within an activation (R-44); the sort is stable."""
    if type(job) is ResolveActivity:
        return 5 if job.is_local else 4
    return _JOB_ORDER.get(type(job), 4)


class WorkflowTaskState:
    """A scheduled workflow task, until it is closed."""

    __slots__ = ("leads_to", "started_event_id", "started_time_ns")

    def __init__(self, leads_to: int) -> None:
        self.leads_to = leads_to
        """The started event that ends the sequence in which this task was scheduled."""
        self.started_event_id = 0
        self.started_time_ns = 0


class Run:
    """The state of one run. Its attributes are for the engine only; the host sees activations."""

    __slots__ = (
        "buffer",
        "by_event",
        "commands",
        "config",
        "continue_as_new_suggested",
        "current_started_id",
        "deployment",
        "finished",
        "flags",
        "fresh",
        "has_command_events",
        "history_size_bytes",
        "info",
        "jobs",
        "last_processed_id",
        "last_sequence",
        "local",
        "next_started_id",
        "now_ns",
        "operations",
        "outbox",
        "patches",
        "position",
        "previous_started_id",
        "replaying",
        "requests",
        "search_attribute_changes",
        "seen_final_event",
        "sequence",
        "started",
        "suggest_reasons",
        "target_version_changed",
        "task_commands",
        "tasks",
        "updates",
    )

    def __init__(self, info: RunInfo, config: EngineConfig) -> None:
        self.info = info
        self.config = config
        self.flags = Flags(
            can_write=config.record_sdk_metadata,
            sdk_name=config.sdk_name,
            sdk_version=config.sdk_version,
        )
        self.buffer = HistoryBuffer()

        self.replaying = False
        self.previous_started_id = 0
        self.current_started_id = 0
        """The last WorkflowTaskStarted that was handled."""
        self.next_started_id = 0
        """The WorkflowTaskStarted at the end of the sequence being applied."""
        self.last_processed_id = 0
        self.seen_final_event = False
        self.finished = False
        """User code has issued a command that ends the workflow."""

        self.now_ns = 0
        self.history_size_bytes = 0
        self.continue_as_new_suggested = False
        self.suggest_reasons: tuple[int, ...] = ()
        self.target_version_changed = False
        self.deployment: DeploymentVersion | None = None

        self.started: history.WorkflowExecutionStartedEventAttributes | None = None
        """Only what a continued run inherits: a part of a message would keep all of it alive."""
        self.search_attribute_changes: dict[str, common.Payload] = {}

        self.operations = Operations()
        self.local = LocalActivities()
        self.updates: dict[str, UpdateMachine] = {}
        self.by_event: dict[int, Machine] = {}
        self.tasks: dict[int, WorkflowTaskState] = {}

        self.commands: list[Outgoing] = []
        """Commands of the current task, in the order in which events must record them."""
        self.fresh: list[Outgoing] = []
        """Commands of the activation being committed."""
        self.outbox: list[protocol.Message] = []
        self.jobs: list[Job] = []
        self.patches: dict[str, bool] = {}
        """Patch id → whether this run issued the command for it."""
        self.requests: list[UpdateRequest] = []
        """Update requests that wait for their place in history."""

        self.last_sequence = False
        """The sequence being applied is the newest there is."""
        self.sequence: Sequence[history.HistoryEvent] = ()
        """The sequence being applied, and where in it we are: for reports."""
        self.position = 0
        self.has_command_events = False
        """Whether the newest sequence has any."""
        self.task_commands: list[Outgoing] = []
        """Commands that events of this sequence have taken, for reports."""

    # ── what machines may ask (machines.base.Host) ────────────────────────────────────────────────

    def push_job(self, job: Job) -> None:
        """Queue work for user code."""
        self.jobs.append(job)

    def issue(self, machine: Machine, command: cmd.Command) -> None:
        """Queue a command for the server."""
        self.fresh.append(Outgoing(machine, command, self.current_started_id))

    def send_message(self, message: protocol.Message) -> None:
        """Queue a protocol message; what history already answered is not sent again."""
        if not self.replaying:
            self.outbox.append(message)

    def may_use(self, flag: Flag) -> bool:
        """Whether `flag` gates the event being matched: recorded, or the newest task (R-46)."""
        return self.flags.may_use(flag, record=self.last_sequence)

    # ── clock ─────────────────────────────────────────────────────────────────────────────────────

    def advance_clock(self, time_ns: int) -> None:
        """Workflow time moves on, never back (R-43)."""
        self.now_ns = max(self.now_ns, time_ns)

    def task_started(self, started_id: int, time_ns: int) -> None:
        """A workflow task that led to a completion (or is the newest) began."""
        self.current_started_id = started_id
        self.advance_clock(time_ns)
        if not self.replaying:
            self.local.execute_unrecorded(self)

    # ── activations ───────────────────────────────────────────────────────────────────────────────

    def take_activation(self) -> Activation:
        """Drain the queued jobs into an activation, in their order."""
        jobs = self.jobs
        self.jobs = []
        if len(jobs) > 1:
            jobs.sort(key=job_order)
        self.local.activation_index += 1
        return self.activation(tuple(jobs), replaying=self.replaying)

    def activation(self, jobs: tuple[Job, ...], *, replaying: bool) -> Activation:
        """An activation in the run's present state (queries always count as replay, R-42)."""
        if not replaying:
            self.deployment = self.config.deployment_version
        return Activation(
            run_id=self.info.run_id,
            time_ns=self.now_ns,
            is_replaying=replaying,
            history_length=self.last_processed_id,
            jobs=jobs,
            available_flags=self.flags.lang,
            history_size_bytes=self.history_size_bytes,
            continue_as_new_suggested=self.continue_as_new_suggested,
            suggest_continue_as_new_reasons=self.suggest_reasons,
            target_worker_deployment_version_changed=self.target_version_changed,
            deployment_version=self.deployment,
            last_sdk_version=self.flags.history_sdk[1],
        )

    def settle_fresh(self) -> None:
        """Move this activation's commands into the task's queue, without those taken back.

        A later activation of the same task may still run code after the command that ends the
        workflow (a cancellation that resolves at once causes one). The server ignores what follows
        the end, so it is not queued: then any engine replays the history alike (R-11).
        """
        for entry in [entry for entry in self.commands if entry.machine.cancelled_before_sent]:
            self.commands.remove(entry)
            self.operations.forget(entry.machine)
        if not self.fresh:
            return
        ended = bool(self.commands) and isinstance(self.commands[-1].command, cmd.TerminalCommand)
        for entry in self.fresh:
            if entry.machine.cancelled_before_sent:
                self.operations.forget(entry.machine)
            elif not ended:
                self.commands.append(entry)
        self.fresh.clear()

    def record(self, event: history.HistoryEvent, entry: Outgoing) -> None:
        """A command event found its machine: later events name it by this event's id."""
        if entry.machine.done:
            self.forget(entry.machine)
        elif event.event_type not in _NAMED_BY_ANOTHER:
            self.by_event[event.event_id] = entry.machine

    def forget(self, machine: Machine) -> None:
        """Drop the references to a machine that nothing can name any more."""
        if isinstance(machine, UpdateMachine):
            self.updates.pop(machine.update_request.instance_id, None)
        else:
            self.operations.forget(machine)

    def forget_speculative_task(self, last_completed_started_id: int) -> None:
        """The server dropped a speculative task after a rejection (R-25)."""
        self.current_started_id = last_completed_started_id
        # The task added only its Scheduled and Started events. There is no other open task.
        self.last_processed_id -= 2
        self.tasks.clear()
