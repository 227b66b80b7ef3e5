"""Tasks in, activations and answers out."""

from __future__ import annotations

from perdure.replay import commands as cmd
from perdure.replay.jobs import (
    LEGACY_QUERY_ID,
    Activation,
    DoUpdate,
    QueryWorkflow,
    SignalWorkflow,
    UpdateRandomSeed,
)
from perdure.replay.mismatch import Rule
from perdure.replay.seed import randomness_seed
from perdure.replay.task import (
    Completion,
    EngineConfig,
    Fatal,
    NeedPage,
    QueryAnswer,
    WorkflowTask,
)
from perdure.wire.api import common, enums, protocol, query, update
from perdure.wire.api import failure as failures
from tests.unit.replay.build import (
    SECOND_NS,
    Driver,
    Events,
    activity,
    live,
    payload,
    script,
    timer,
)


def types(answer: object) -> list[str]:
    assert isinstance(answer, Completion), answer
    prefix = "COMMAND_TYPE_"
    return [
        enums.CommandType.Name(command.command_type).removeprefix(prefix)
        for command in answer.commands
    ]


def test_first_task_initialises_and_answers_with_commands_and_flags() -> None:
    driver = Driver(script([timer(), activity()]))
    answer = driver.feed(live(Events().start()))
    assert driver.jobs == [["InitializeWorkflow"]]
    assert types(answer) == ["START_TIMER", "SCHEDULE_ACTIVITY_TASK"]
    assert list(answer.sdk_metadata.core_used_flags) == [1, 2, 3, 4]
    assert (answer.sdk_metadata.sdk_name, answer.sdk_metadata.sdk_version) == ("ours", "1")
    assert not answer.is_terminal
    first = driver.seen[0]
    assert (first.is_replaying, first.time_ns, first.history_length) == (False, 3 * SECOND_NS, 3)


def test_a_sticky_task_goes_on_where_the_last_one_ended() -> None:
    events = Events().start()
    driver = Driver(script([timer()], [cmd.CompleteWorkflow()]))
    driver.feed(live(events))
    driver.engine.task_reported()
    started = events.completed().timer()
    events.fired(started).task()
    answer = driver.feed(live(events[3:], previous=3))
    assert driver.jobs == [["InitializeWorkflow"], ["FireTimer"]]
    assert types(answer) == ["COMPLETE_WORKFLOW_EXECUTION"]
    assert answer.is_terminal
    assert list(answer.sdk_metadata.core_used_flags) == []
    assert not driver.seen[1].is_replaying


def test_the_whole_history_may_come_again_for_a_cached_run() -> None:
    events = Events().start()
    driver = Driver(script([timer()], []))
    driver.feed(live(events))
    started = events.completed().timer()
    events.fired(started).task()
    driver.feed(live(events, previous=3))
    assert driver.jobs == [["InitializeWorkflow"], ["FireTimer"]]


def test_a_sticky_task_without_the_run_in_cache_fetches_from_the_start() -> None:
    events = Events().start()
    started = events.completed().timer()
    events.fired(started).task()
    driver = Driver(script([timer()], [cmd.CompleteWorkflow()]))
    # The pages lack the last two events, as for a speculative task (S-16).
    answer = driver.feed(live(events[3:], previous=3), [events[:2], events[2:6]])
    assert [need.token for need in driver.needs] == [b"", b"more"]
    assert types(answer) == ["COMPLETE_WORKFLOW_EXECUTION"]
    assert [activation.is_replaying for activation in driver.seen] == [True, False]


def test_a_history_that_ends_before_its_task_is_fatal() -> None:
    driver = Driver(script())
    events = Events().start()
    driver.feed(WorkflowTask(events[:1], 0, 9))
    assert driver.engine.error == Fatal(
        "history ends at event 1, but the workflow task was started by event 9"
    )
    assert driver.engine.next() is None
    assert driver.engine.ready() is None


def test_replaying_ends_at_the_first_event_never_seen() -> None:
    events = Events().start()
    started = events.completed().timer()
    events.signal("early").task().completed().signal("late").fired(started).task()
    driver = Driver(script([timer()]))
    driver.feed(WorkflowTask(events, previous_started_event_id=7, started_event_id=len(events)))
    assert [activation.is_replaying for activation in driver.seen] == [True, True, False]


def test_signals_come_before_resolutions_and_in_their_own_order() -> None:
    events = Events().start()
    started = events.completed().timer()
    events.fired(started).signal("a").signal("b").task()
    driver = Driver(script([timer()]))
    driver.feed(live(events, previous=3))
    assert driver.jobs[1] == ["SignalWorkflow", "SignalWorkflow", "FireTimer"]
    names = [job.signal_name for job in driver.seen[1].jobs if isinstance(job, SignalWorkflow)]
    assert names == ["a", "b"]


def test_empty_tasks_are_merged_into_the_next_one() -> None:
    events = Events().start().completed().task().completed().signal().task()
    driver = Driver(script())
    driver.feed(live(events, previous=6))
    assert driver.jobs == [["InitializeWorkflow"], ["SignalWorkflow"]]
    assert [a.history_length for a in driver.seen] == [6, 10]


def test_a_failed_task_leaves_no_trace_and_a_reset_reseeds() -> None:
    reset = enums.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW
    events = Events().start().failed().task().failed(reset, new_run_id="run-2").task()
    driver = Driver(script())
    driver.feed(live(events))
    assert driver.jobs == [["InitializeWorkflow", "UpdateRandomSeed"]]
    assert driver.seen[0].jobs[1] == UpdateRandomSeed(randomness_seed("run-2"))
    assert driver.seen[0].time_ns == len(events) * SECOND_NS


def test_time_never_goes_back() -> None:
    events = Events().start()
    started = events.completed().timer()
    events.fired(started).task()
    events[-1].event_time.seconds = 1
    driver = Driver(script([timer()]))
    driver.feed(live(events, previous=3))
    assert [activation.time_ns for activation in driver.seen] == [3 * SECOND_NS, 3 * SECOND_NS]


# --- queries ---


def _query(kind: str = "state") -> query.WorkflowQuery:
    return query.WorkflowQuery(query_type=kind)


def asked(activation: Activation) -> list[QueryWorkflow]:
    return [job for job in activation.jobs if isinstance(job, QueryWorkflow)]


def answering(answer: str, *steps: list[cmd.Command]) -> Driver:
    """User code that issues ``steps``, and answers every query alike."""
    left = list(steps)

    def code(activation: Activation) -> list[cmd.Command]:
        queries = asked(activation)
        if not queries:
            return left.pop(0) if left else []
        return [
            cmd.QueryResult(query_id=query.query_id, response=payload(answer)) for query in queries
        ]

    return Driver(code)


def test_queries_of_a_task_follow_in_an_activation_of_their_own() -> None:
    driver = answering("yes")
    answer = driver.feed(live(Events().start(), queries={"q2": _query(), "q1": _query("other")}))
    assert driver.jobs == [["InitializeWorkflow"], ["QueryWorkflow", "QueryWorkflow"]]
    assert [activation.is_replaying for activation in driver.seen] == [False, True]
    assert isinstance(answer, Completion)
    assert answer.query_results["q1"].answer.payloads[0] == payload("yes")
    assert answer.query_results["q2"].result_type == enums.QUERY_RESULT_TYPE_ANSWERED


def test_a_failed_query_carries_its_failure() -> None:
    failure = failures.Failure(message="no such query")

    def code(activation: Activation) -> list[cmd.Command]:
        return [
            cmd.QueryResult(query_id=query.query_id, failure=failure) for query in asked(activation)
        ]

    answer = Driver(code).feed(live(Events().start(), queries={"q": _query()}))
    result = answer.query_results["q"]
    assert result.result_type == enums.QUERY_RESULT_TYPE_FAILED
    assert result.error_message == "no such query"
    assert result.failure.message == "no such query"


def test_a_query_task_replays_a_closed_run_and_sends_no_commands() -> None:
    events = Events().start()
    started = events.completed().timer()
    events.fired(started).task().completed().done()
    driver = answering("done", [timer()], [cmd.CompleteWorkflow()])
    answer = driver.feed(
        WorkflowTask(events, previous_started_event_id=8, started_event_id=0, query=_query())
    )
    assert answer == QueryAnswer(payload("done"), None)
    assert driver.jobs == [["InitializeWorkflow"], ["FireTimer"], ["QueryWorkflow"]]
    assert [query.query_id for query in asked(driver.seen[2])] == [LEGACY_QUERY_ID]


def test_a_query_task_on_a_cached_run_needs_no_history() -> None:
    driver = answering("cached")
    driver.feed(live(Events().start()))
    driver.engine.task_reported()
    answer = driver.feed(WorkflowTask([], 3, 0, query=_query()))
    assert answer == QueryAnswer(payload("cached"), None)
    assert driver.jobs == [["InitializeWorkflow"], ["QueryWorkflow"]]


def test_a_query_older_than_the_run_is_refused() -> None:
    events = Events().start()
    driver = answering("late")
    driver.feed(live(events))
    events.completed().signal().task()
    driver.feed(live(events[3:], previous=3))
    answer = driver.feed(WorkflowTask([], 3, 0, query=_query()))
    assert isinstance(answer, QueryAnswer)
    assert answer.failure is not None
    assert answer.failure.message == "Query expired"


def test_a_query_task_without_history_fetches_it() -> None:
    events = Events().start()
    events.completed().timer()
    driver = answering("cold", [timer()])
    answer = driver.feed(WorkflowTask([], 3, 0, query=_query()), [events])
    assert driver.needs == [NeedPage(b"")]
    assert answer == QueryAnswer(payload("cold"), None)


# --- the end of a workflow ---


def test_commands_after_the_end_are_moved_in_front_of_it() -> None:
    driver = Driver(
        script(
            [
                timer(),
                cmd.CompleteWorkflow(),
                activity(),
                cmd.FailWorkflow(failure=failures.Failure(message="no")),
            ]
        )
    )
    answer = driver.feed(live(Events().start()))
    assert types(answer) == ["START_TIMER", "SCHEDULE_ACTIVITY_TASK", "COMPLETE_WORKFLOW_EXECUTION"]
    assert answer.is_terminal


def test_histories_from_before_that_rule_are_cut_after_the_end() -> None:
    events = Events().start().completed(None)
    events.done()
    code = [cmd.CompleteWorkflow(), timer()]
    assert Driver(script(code)).replay(events).engine.error is None
    flagged = Events().start().completed()
    flagged.done()
    mismatch = Driver(script(code)).replay(flagged).engine.mismatch
    assert mismatch is not None
    assert mismatch.rule is Rule.WRONG_COMMAND


def test_code_that_runs_on_after_the_end_sends_nothing_more() -> None:
    # Cancelling an activity resolves at once, which causes another activation in the same task.
    events = Events().start()
    events.completed().activity()
    events.signal().task()
    end = [cmd.RequestCancelActivity(seq=1), cmd.CompleteWorkflow()]
    driver = Driver(script([activity()], end, [timer(), cmd.CompleteWorkflow()]))
    answer = driver.feed(live(events, previous=3))
    assert driver.jobs == [["InitializeWorkflow"], ["SignalWorkflow"], ["ResolveActivity"]]
    assert types(answer) == ["REQUEST_CANCEL_ACTIVITY_TASK", "COMPLETE_WORKFLOW_EXECUTION"]


def test_continue_as_new_inherits_what_it_does_not_say() -> None:
    events = Events().start()
    started = events[0].workflow_execution_started_event_attributes
    started.memo.fields["note"].CopyFrom(payload("memo"))
    started.search_attributes.indexed_fields["Color"].CopyFrom(payload("red"))
    started.retry_policy.maximum_attempts = 3
    upsert = cmd.UpsertSearchAttributes(
        search_attributes=common.SearchAttributes(indexed_fields={"Size": payload("big")})
    )
    answer = Driver(script([upsert, cmd.ContinueAsNew(workflow_type="Order")])).feed(live(events))
    attributes = answer.commands[-1].continue_as_new_workflow_execution_command_attributes
    assert attributes.memo.fields["note"] == payload("memo")
    assert dict(attributes.search_attributes.indexed_fields) == {
        "Color": payload("red"),
        "Size": payload("big"),
    }
    assert attributes.retry_policy.maximum_attempts == 3
    assert attributes.task_queue.name == "queue"


# --- updates ---


def _update(name: str = "set", sequencing: int = 2, uid: str = "u1") -> protocol.Message:
    message = protocol.Message(id=f"{uid}/request", protocol_instance_id=uid, event_id=sequencing)
    message.body.Pack(
        update.Request(meta=update.Meta(update_id=uid), input=update.Input(name=name))
    )
    return message


def respond(
    *responses: cmd.UpdateAccepted | cmd.UpdateRejected | cmd.UpdateCompleted,
) -> list[cmd.Command]:
    return [
        cmd.UpdateResponse(protocol_instance_id="u1", response=response) for response in responses
    ]


def test_an_accepted_update_leaves_messages_placed_by_commands() -> None:
    driver = Driver(
        script(
            [*respond(cmd.UpdateAccepted()), timer(), *respond(cmd.UpdateCompleted(payload("ok")))]
        )
    )
    answer = driver.feed(live(Events().start(), messages=[_update()]))
    assert driver.jobs == [["InitializeWorkflow", "DoUpdate"]]
    assert types(answer) == ["PROTOCOL_MESSAGE", "START_TIMER", "PROTOCOL_MESSAGE"]
    assert [message.id for message in answer.messages] == [
        "u1/request/accept",
        "u1/request/complete",
    ]
    accepted = update.Acceptance()
    assert answer.messages[0].body.Unpack(accepted)
    assert accepted.accepted_request_sequencing_event_id == 2


def test_a_rejected_update_is_a_message_only_and_its_task_may_vanish() -> None:
    events = Events().start()
    driver = Driver(
        script([timer()], respond(cmd.UpdateRejected(failures.Failure(message="no"))), [])
    )
    driver.feed(live(events))
    driver.engine.task_reported()
    events.completed().timer()
    speculative = Events(events).task()
    answer = driver.feed(live(speculative[3:], previous=3, messages=[_update(sequencing=6)]))
    assert types(answer) == []
    assert [message.id for message in answer.messages] == ["u1/request/reject"]
    driver.engine.task_reported(reset_history_event_id=3)
    assert driver.engine.last_event_id == 5
    events.signal().task()
    driver.feed(live(events[3:], previous=3))
    assert driver.engine.error is None
    assert driver.jobs[-1] == ["SignalWorkflow"]


def test_a_replayed_update_skips_its_validator() -> None:
    events = Events().start().completed()
    request = update.Request(meta=update.Meta(update_id="u1"), input=update.Input(name="set"))
    events.add(
        "WorkflowExecutionUpdateAccepted",
        protocol_instance_id="u1",
        accepted_request_message_id="u1/request",
        accepted_request_sequencing_event_id=2,
        accepted_request=request,
    )
    driver = Driver(script(respond(cmd.UpdateAccepted()))).replay(events)
    assert driver.engine.error is None
    requested = driver.seen[0].jobs[1]
    assert isinstance(requested, DoUpdate)
    assert not requested.run_validator


def test_an_admitted_update_is_requested_again() -> None:
    request = update.Request(meta=update.Meta(update_id="u1"), input=update.Input(name="set"))
    events = Events()
    events.start()
    events.completed().add("WorkflowExecutionUpdateAdmitted", request=request)
    events.task()
    driver = Driver(script([], respond(cmd.UpdateAccepted())))
    answer = driver.feed(live(events, previous=3))
    assert driver.jobs == [["InitializeWorkflow"], ["DoUpdate"]]
    assert types(answer) == ["PROTOCOL_MESSAGE"]


def test_answering_an_update_twice_is_a_bug_of_the_host() -> None:
    driver = Driver(script(respond(cmd.UpdateAccepted(), cmd.UpdateAccepted())))
    driver.feed(live(Events().start(), messages=[_update()]))
    assert driver.engine.error == Fatal("workflow code answered update u1 out of order")


def test_a_malformed_message_is_fatal() -> None:
    driver = Driver(script())
    driver.feed(live(Events().start(), messages=[protocol.Message(id="m", event_id=2)]))
    assert isinstance(driver.engine.error, Fatal)
    assert "m is not an update request" in driver.engine.error.message


# --- misuse and damage ---


def test_a_gap_in_history_is_fatal() -> None:
    events = Events().start().completed().signal().task()
    del events[4]
    driver = Driver(script()).replay(events)
    assert isinstance(driver.engine.error, Fatal)
    assert driver.engine.error.event_id == 6


def test_an_unknown_event_type_is_fatal_unless_the_server_says_otherwise() -> None:
    events = Events().start().completed().signal().task()
    events[4].Clear()
    events[4].event_id = 5
    events[4].event_type = enums.EventType.ValueType(999)
    driver = Driver(script()).replay(events)
    assert isinstance(driver.engine.error, Fatal)
    assert "upgrade the worker" in driver.engine.error.message
    events[4].worker_may_ignore = True
    assert Driver(script()).replay(events).engine.error is None


def test_known_ignorable_events_are_skipped() -> None:
    events = Events().start().completed()
    events.add("WorkflowExecutionPaused")
    events[-1].worker_may_ignore = True
    events.signal().task()
    assert Driver(script()).replay(events).engine.error is None


def test_events_after_a_termination_are_fatal() -> None:
    events = Events().start().completed()
    events.add("WorkflowExecutionTerminated")
    assert Driver(script()).replay(events).engine.error is None
    events.signal().task()
    assert isinstance(Driver(script()).replay(events).engine.error, Fatal)


def test_cancelling_what_never_was_is_fatal_and_what_is_over_is_ignored() -> None:
    driver = Driver(script([cmd.CancelTimer(seq=4)]))
    driver.feed(live(Events().start()))
    assert driver.engine.error == Fatal("workflow code cancelled timer 4, which it never started")
    events = Events().start()
    started = events.completed().timer()
    events.fired(started).task()
    late = Driver(script([timer()], [cmd.CancelTimer(seq=1)]))
    assert types(late.feed(live(events, previous=3))) == []
    assert late.engine.pending_operations == 0


def test_commands_without_an_activation_are_refused() -> None:
    driver = Driver(script())
    driver.engine.commit(cmd.ActivationResult())
    assert isinstance(driver.engine.error, Fatal)


def test_without_the_servers_capability_no_flag_is_written_or_used() -> None:
    driver = Driver(
        script([cmd.SetPatchMarker(patch_id="p")]), EngineConfig(record_sdk_metadata=False)
    )
    answer = driver.feed(live(Events().start()))
    assert types(answer) == ["RECORD_MARKER"]
    assert not answer.sdk_metadata.core_used_flags
