from __future__ import annotations

import textwrap

import pytest

from perdure.rendering import event_text, timeline
from perdure.rendering.steps import State, each_event, steps
from perdure.wire.api import common, enums, history
from perdure.wire.times import NS_PER_SECOND
from tests.unit.cli.histories import BEGIN_NS, Script, failed, greeting, json_payload


def test_a_greeting_from_start_to_end():
    drawn = timeline.render(greeting())
    assert drawn == textwrap.dedent(
        """\
        Greeting  greeting-1  completed after 10.30s
        run run-1 • task queue greetings • started 2026-05-28 20:26:40 UTC • 20 events
             ID  AT       STEP                                                TOOK  DETAIL
              1  0.000s   • workflow started          ╸                             Greeting("World")
           5–10  0.020s   ✓ timer 10s                 ━━━━━━━━━━━━━━━━━━━━  10.01s  fired
              6  4.000s   • signal hurry                     ╸                      (3)
          14–16  10.05s   ✓ activity compose_greeting                    ━  0.200s  ("World")  → "Hello, World!"
             20  10.30s   ✓ workflow completed                           ╸          → "Hello, World!"
        """
    ).removesuffix("\n")


def test_an_open_workflow_reaches_to_the_present():
    drawn = timeline.render(greeting(closed=False), now_ns=BEGIN_NS + 100 * NS_PER_SECOND)
    assert drawn.splitlines()[0] == "Greeting  greeting-1  running for 1m40s"


def test_an_open_step_is_drawn_to_the_end():
    script = Script()
    script.add("workflow_execution_started", 0)
    script.add("activity_task_scheduled", 5, activity_type=common.ActivityType(name="slow"))
    row = timeline.render(script.history, now_ns=BEGIN_NS + 10 * NS_PER_SECOND).splitlines()[-1]
    assert "… activity slow" in row
    assert row.count("┅") == timeline.BAR_COLUMNS // 2


def test_workflow_tasks_are_shown_only_in_detail_or_when_they_failed():
    script = Script()
    script.add("workflow_execution_started", 0)
    script.workflow_task(1)
    script.add(
        "workflow_task_failed",
        2,
        cause=enums.WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR,
        failure=failed("timer expected", "NondeterminismError"),
    )
    folded = [step.what for step in steps(script.history.events)]
    assert folded == ["workflow started", "workflow task failed"]
    assert len(each_event(script.history.events)) == len(script.history.events)
    assert "non deterministic error: NondeterminismError: timer expected" in timeline.render(
        script.history, style=timeline.Style(width=None)
    )


def test_a_retried_activity_tells_its_last_failure():
    script = Script()
    scheduled = script.add(
        "activity_task_scheduled", 0, activity_type=common.ActivityType(name="charge")
    )
    script.add(
        "activity_task_started",
        3,
        scheduled_event_id=scheduled.event_id,
        attempt=3,
        last_failure=failed("no funds", "Declined"),
    )
    (step,) = steps(script.history.events)
    assert step.detail == "attempt 3 after Declined: no funds"
    assert step.state is State.OPEN


@pytest.mark.parametrize(
    ("kind", "attributes", "state"),
    [
        ("activity_task_failed", {"failure": failed("boom")}, State.FAILED),
        ("activity_task_timed_out", {"failure": failed("late")}, State.FAILED),
        ("activity_task_canceled", {}, State.CANCELED),
    ],
)
def test_how_an_activity_ends(kind: str, attributes: dict[str, object], state: State):
    script = Script()
    scheduled = script.add("activity_task_scheduled", 0)
    started = script.add(
        "activity_task_started", 1, scheduled_event_id=scheduled.event_id, attempt=1
    )
    script.add(
        kind,
        2,
        scheduled_event_id=scheduled.event_id,
        started_event_id=started.event_id,
        **attributes,
    )
    (step,) = steps(script.history.events)
    assert step.state is state
    assert step.event_ids == (1, 2, 3)
    assert step.end_ns == BEGIN_NS + 2 * NS_PER_SECOND


def test_the_authors_summary_names_the_step():
    script = Script()
    event = script.add("timer_started", 0)
    event.user_metadata.summary.CopyFrom(json_payload('"wait for the bank"'))
    (step,) = steps(script.history.events)
    assert step.what == "timer 0s (wait for the bank)"


def test_a_close_event_whose_opening_is_not_there_stands_alone():
    script = Script()
    script.add("timer_fired", 0, started_event_id=99)
    (step,) = steps(script.history.events)
    assert step.what == "TimerFired"


def test_an_unknown_event_type_keeps_its_number():
    recorded = history.History(events=[history.HistoryEvent(event_id=1, event_type=9999)])  # pyright: ignore[reportArgumentType]
    assert "event type 9999" in timeline.render(recorded)


def test_every_event_type_can_be_shown_without_attributes():
    for number in enums.EventType.values():
        event = history.HistoryEvent(event_id=1, event_type=number)
        assert len(each_event([event])) == 1
        assert len(steps([event])) <= 1


def test_an_event_type_is_in_one_table_only():
    tables = [event_text.OPENING, event_text.NOTES, event_text.CLOSING, event_text.INSTANT]
    kinds = [kind for table in tables for kind in table]
    assert len(kinds) == len(set(kinds))


def test_lines_are_cut_to_the_width_but_never_the_headline():
    lines = timeline.render(greeting(), style=timeline.Style(width=60)).splitlines()
    assert max(len(line) for line in lines[2:]) <= 60
    assert "run run-1" in lines[1]
    assert lines[6].endswith("…")


def test_ascii_only():
    drawn = timeline.render(greeting(), style=timeline.Style(alphabet=timeline.ASCII))
    assert drawn == textwrap.dedent(
        """\
        Greeting  greeting-1  completed after 10.30s
        run run-1 * task queue greetings * started 2026-05-28 20:26:40 UTC * 20 events
             ID  AT       STEP                                                TOOK  DETAIL
              1  0.000s   * workflow started          |                             Greeting("World")
           5-10  0.020s   + timer 10s                 ====================  10.01s  fired
              6  4.000s   * signal hurry                     |                      (3)
          14-16  10.05s   + activity compose_greeting                    =  0.200s  ("World")  -> "Hello, World!"
             20  10.30s   + workflow completed                           |          -> "Hello, World!"
        """
    ).removesuffix("\n")


def test_newest_first():
    lines = timeline.render(greeting(), style=timeline.Style(newest_first=True)).splitlines()
    assert "workflow completed" in lines[3]


def test_nothing_to_draw():
    assert timeline.render(history.History()) == "no events"


def test_following_leaves_the_plumbing_out():
    events = greeting().events
    quiet = [line for event in events if (line := timeline.event_line(event, BEGIN_NS))]
    assert len(quiet) == len(events) - 3 * 4
    loud = timeline.Style(detailed=True)
    assert all(timeline.event_line(event, BEGIN_NS, loud) for event in events)
