"""What clients and other runs do to a run, in the language of transcripts: starts, signals, updates, children, parents.

Deliveries are the server's business; here a line says what one brings: `child-started 5 run=c1`, `signal-sent 6`.
"""

from __future__ import annotations

from typing import Any

from perdure.core.ids import EntityKey, QueueKey, QueueKind, run_key
from perdure.history import transitions
from perdure.history.activity import orphans
from perdure.history.activity.pause import pause_activity, unpause_activity
from perdure.history.activity.reset import reset_activity
from perdure.history.draft.transition import RunTransition
from perdure.history.draft.update_values import TaskUpdates
from perdure.history.message.query import query_route
from perdure.history.run.signal_with_start import signal_with_start
from perdure.history.run.start import Parent, needs_existing
from perdure.history.run.update_with_start import update_with_start
from perdure.history.run.wanted_tasks import is_stale
from perdure.history.workflow_task.attempts import leave_sticky_queue
from perdure.wire import events
from perdure.wire.api import enums, history, update, workflowservice
from perdure.wire.events import attributes_of
from perdure.wire.times import duration
from tests.harness.commands import Options, payloads
from tests.harness.values import set_field, span
from tests.transcripts.render import fields_text
from tests.transcripts.world import NAMESPACE_ID, World

_TIMEOUTS = {
    "run_timeout": "workflow_run_timeout",
    "execution_timeout": "workflow_execution_timeout",
    "task_timeout": "workflow_task_timeout",
    "delay": "workflow_start_delay",
}
_POLICIES = {"reuse": "workflow_id_reuse_policy", "conflict": "workflow_id_conflict_policy"}


def parent_key(options: Options) -> EntityKey:
    return run_key(NAMESPACE_ID, options.get("parent", "parent"), options.get("of_run", "p1"))


class Others:
    """The world, and those who act on it from outside."""

    def __init__(self) -> None:
        self.world = World()
        self.sent: dict[str, update.Request] = {}
        """Updates that no worker has accepted yet."""

    # Starts.

    def _start_request(self, options: Options) -> workflowservice.StartWorkflowExecutionRequest:
        request = workflowservice.StartWorkflowExecutionRequest(
            workflow_id=options.get("id", "w"),
            request_id=options.get("request", "start"),
            identity="client",
            request_eager_execution="eager" in options,
        )
        request.workflow_type.name = "Order"
        request.task_queue.name = "q"
        self._set_start(request, options)
        return request

    def _set_start(self, request: Any, options: Options) -> None:
        for name, field in _TIMEOUTS.items():
            if name in options:
                getattr(request, field).CopyFrom(duration(span(options[name])))
        for name, field in _POLICIES.items():
            if name in options:
                set_field(request, field, options[name])
        for path in [path for path in options if "." in path or path == "cron_schedule"]:
            set_field(request, path, options[path])

    def _do_start(self, options: Options) -> list[RunTransition | str]:
        request = self._start_request(options)
        parent = None
        if "parent" in options:
            root = options.get("root", "root")
            parent = Parent(parent_key(options), "default", 5, root, f"{root}-run")
        needs = needs_existing(self.world.current, request)
        done: list[RunTransition | str] = list(self.world.start(request, parent))
        return ["needs the existing run", *done] if needs else done

    def _do_signal_with_start(self, name: str, options: Options) -> list[RunTransition]:
        request = workflowservice.SignalWithStartWorkflowExecutionRequest(
            workflow_id="w",
            request_id=options.get("request", "start"),
            identity="client",
            signal_name=name,
        )
        request.workflow_type.name = "Order"
        request.task_queue.name = "q"
        self._set_start(request, options)
        world = self.world
        return world.commit_all(
            signal_with_start(world.current, world.state_or_none, request, NAMESPACE_ID, world.env)
        )

    def _do_update_with_start(self, update_id: str, options: Options) -> list[RunTransition]:
        world = self.world
        waiting = None if "waits" in options else int(options.get("waiting", 0))
        return world.commit_all(
            update_with_start(
                world.current,
                world.state_or_none,
                self._start_request(options),
                update_id,
                waiting,
                NAMESPACE_ID,
                world.env,
            )
        )

    def _do_follow(self, options: Options) -> None:
        self.world.follow()

    # Clients.

    def _do_signal(self, name: str = "", *, options: Options) -> RunTransition:
        request = workflowservice.SignalWorkflowExecutionRequest(
            signal_name=name, request_id=options.get("request", ""), identity="client"
        )
        if "input" in options:
            request.input.CopyFrom(payloads(options["input"]))
        for path in [path for path in options if "." in path]:
            set_field(request, path, options[path])
        if "link" in options:
            request.links.add().workflow_event.workflow_id = options["link"]
        sender = parent_key(options) if "parent" in options else None
        return self.world.commit(
            transitions.signal(
                self.world.state,
                request,
                self.world.env,
                sender=sender,
                child_only="child_only" in options,
            )
        )

    def _do_cancel(self, options: Options) -> RunTransition:
        request = workflowservice.RequestCancelWorkflowExecutionRequest(
            request_id=options.get("request", "cancel"),
            reason=options.get("reason", ""),
            first_execution_run_id=options.get("chain", ""),
            identity=options.get("identity", ""),
        )
        if "link" in options:
            request.links.add().workflow_event.workflow_id = options["link"]
        sender = parent_key(options) if "parent" in options else None
        return self.world.commit(
            transitions.request_cancel(
                self.world.state,
                request,
                self.world.env,
                sender=sender,
                sender_event_id=int(options.get("event", 0)),
                child_only="child_only" in options,
            )
        )

    def _do_terminate(self, options: Options) -> RunTransition:
        request = workflowservice.TerminateWorkflowExecutionRequest(
            reason="enough",
            identity=options.get("identity", ""),
            first_execution_run_id=options.get("chain", ""),
        )
        if "details" in options:
            request.details.CopyFrom(payloads(options["details"]))
        if "link" in options:
            request.links.add().workflow_event.workflow_id = options["link"]
        return self.world.commit(transitions.terminate(self.world.state, request, self.world.env))

    def _do_describe(self, options: Options) -> list[str]:
        reply = transitions.describe(self.world.state, self.world.env)
        lines = [fields_text(reply.execution_config), fields_text(reply.workflow_execution_info)]
        lines += [f"activity {fields_text(each)}" for each in reply.pending_activities]
        lines += [f"child {fields_text(each)}" for each in reply.pending_children]
        if reply.HasField("pending_workflow_task"):
            lines.append(f"task {fields_text(reply.pending_workflow_task)}")
        return [*lines, f"extended {fields_text(reply.workflow_extended_info)}"]

    def _do_query(self, options: Options) -> list[str]:
        until_ns = self.world.now_ns + span(options.get("until", "0s"))
        return [query_route(self.world.state, until_ns).value]

    # Updates.

    def _do_update(self, update_id: str, options: Options) -> RunTransition:
        admitted = self.world.commit(
            transitions.request_update(
                self.world.state,
                update_id,
                options.get("chain", ""),
                int(options.get("waiting", 0)),
                self.world.env,
            )
        )
        request = update.Request(meta=update.Meta(update_id=update_id, identity="client"))
        request.input.name = options.get("name", "set")
        if admitted.reply.is_new:
            self.sent[update_id] = request
        return admitted

    def updates_of(self, options: Options) -> TaskUpdates:
        """What the worker that completes a task has got; with `sent=` only these."""
        names = options["sent"].split(",") if "sent" in options else list(self.sent)
        sent = {name: self.sent[name] for name in names if name in self.sent}
        if "force" not in options:
            self.sent.clear()
        return TaskUpdates(sent=sent, others_wait="others" in options)

    def _do_update_view(self, update_id: str, options: Options) -> list[str]:
        return [str(transitions.update_view(self.world.state, update_id))]

    # Children and other workflows, as the parent sees them.

    def _initiated(self, event_id: str) -> Any:
        return attributes_of(self.world.history.events[int(event_id) - 1])

    def _do_child_started(self, event_id: str, options: Options) -> RunTransition:
        world = self.world
        run_id = options.get("run", "c1")
        return world.commit(
            transitions.child_started(world.state, int(event_id), run_id, world.env)
        )

    def _do_child_start_failed(self, event_id: str, cause: str, options: Options) -> RunTransition:
        world = self.world
        name = f"START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_{cause}"
        number = enums.StartChildWorkflowExecutionFailedCause.Value(name)
        said = self._initiated(event_id)
        return world.commit(
            transitions.child_start_failed(world.state, int(event_id), said, number, world.env)
        )

    def _do_child_start_of(self, event_id: str, options: Options) -> list[str]:
        return [transitions.child_start_of(self.world.state, int(event_id)).value]

    def _do_child_closed(self, event_id: str, how: str, options: Options) -> RunTransition:
        name = f"WorkflowExecution{how}EventAttributes"
        attributes = getattr(history, name)()
        for path in [path for path in options if path not in {"run", "first"}]:
            set_field(attributes, path, options[path])
        closing = events.event(attributes, event_id=9, time_ns=self.world.now_ns)
        run_id = options.get("run", "c1")
        world = self.world
        return world.commit(
            transitions.child_closed(
                world.state,
                int(event_id),
                run_key(NAMESPACE_ID, "child", run_id),
                options.get("first", run_id),
                closing,
                world.env,
            )
        )

    def _do_signal_sent(self, event_id: str, cause: str = "", *, options: Options) -> RunTransition:
        world = self.world
        prefix = "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE"
        kind = enums.SignalExternalWorkflowExecutionFailedCause
        number = kind.Value(f"{prefix}_{cause}") if cause else None
        said = self._initiated(event_id)
        return world.commit(
            transitions.external_signaled(world.state, int(event_id), said, number, world.env)
        )

    def _do_cancel_sent(self, event_id: str, cause: str = "", *, options: Options) -> RunTransition:
        world = self.world
        prefix = "CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE"
        kind = enums.CancelExternalWorkflowExecutionFailedCause
        number = kind.Value(f"{prefix}_{cause}") if cause else None
        said = self._initiated(event_id)
        return world.commit(
            transitions.external_cancel_requested(
                world.state, int(event_id), said, number, world.env
            )
        )

    def _do_answered(self, event_id: str, options: Options) -> list[str]:
        return [str(transitions.is_external_answered(self.world.state, int(event_id)))]

    # A child, as it sees its parent.

    def _do_release(self, options: Options) -> RunTransition:
        world = self.world
        request_id = options.get("request", "start")
        return world.commit(
            transitions.release_child(world.state, parent_key(options), request_id, world.env)
        )

    def _do_discard(self, options: Options) -> RunTransition:
        world = self.world
        request_id = options.get("request", "start")
        return world.commit(
            transitions.discard_child(world.state, parent_key(options), request_id, world.env)
        )

    def _do_child_request(self, event_id: str, options: Options) -> list[str]:
        return [fields_text(transitions.child_request(self._initiated(event_id), "r"))]

    def _do_pause(self, name: str = "", *, options: Options) -> RunTransition:
        request = workflowservice.PauseActivityRequest(
            identity="client",
            reason=options.get("reason", ""),
            request_id=options.get("request", ""),
        )
        self._choose(request, name, options)
        return self.world.commit(pause_activity(self.world.state, request, self.world.env))

    def _do_unpause(self, name: str = "", *, options: Options) -> RunTransition:
        request = workflowservice.UnpauseActivityRequest(
            reset_attempts="attempts" in options, reset_heartbeat="heartbeat" in options
        )
        if "jitter" in options:
            request.jitter.FromNanoseconds(span(options["jitter"]))
        self._choose(request, name, options)
        return self.world.commit(unpause_activity(self.world.state, request, self.world.env))

    def _do_reset(self, name: str = "", *, options: Options) -> RunTransition:
        request = workflowservice.ResetActivityRequest(
            keep_paused="paused" in options, reset_heartbeat="heartbeat" in options
        )
        if "jitter" in options:
            request.jitter.FromNanoseconds(span(options["jitter"]))
        self._choose(request, name, options)
        return self.world.commit(reset_activity(self.world.state, request, self.world.env))

    def _choose(
        self,
        request: (
            workflowservice.PauseActivityRequest
            | workflowservice.UnpauseActivityRequest
            | workflowservice.ResetActivityRequest
        ),
        name: str,
        options: Options,
    ) -> None:
        """An activity by its id, those of a type, or all of them."""
        if name:
            request.id = name
        elif "type" in options:
            request.type = options["type"]
        elif isinstance(request, workflowservice.UnpauseActivityRequest):
            request.unpause_all = True
        elif isinstance(request, workflowservice.ResetActivityRequest):
            request.match_all = True

    # Engines.

    def _do_leave_sticky_queue(self, options: Options) -> RunTransition:
        row, task = self.world.queue(QueueKind.WORKFLOW)[int(options.get("skip", 0))]
        return self.world.commit(leave_sticky_queue(self.world.state, task, row, self.world.env))

    def _do_stale(self, options: Options) -> list[str]:
        """Which of the rows that wait mean nothing any more."""
        return [
            f"{_queue_text(row.queue)} of event {task.scheduled_event_id} stamp={task.stamp} "
            f"{'stale' if is_stale(self.world.state, task) else 'wanted'}"
            for row, task in self.world.tasks.items()
        ]

    def _do_time_out_orphans(self, options: Options) -> RunTransition:
        return self.world.commit(orphans.time_out_orphans(self.world.state, self.world.env))

    def _do_in_flight(self, options: Options) -> list[str]:
        run = self.world.state
        return [f"in_flight={orphans.has_task_in_flight(run)} asleep={orphans.is_asleep(run)}"]


def _queue_text(queue: QueueKey) -> str:
    return f"{queue.kind.name.lower()} {queue.name}"
