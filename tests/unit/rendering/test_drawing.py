"""How a timeline is drawn, to the letter, and durations at their borders."""

from __future__ import annotations

import os
import time
from collections.abc import Generator

import pytest

from perdure.rendering import durations, timeline
from perdure.rendering.timeline import ASCII, UNICODE, Style
from perdure.wire.api import common
from perdure.wire.times import NS_PER_SECOND, duration
from tests.unit.cli.histories import BEGIN_NS, Script, greeting, json_payloads

MS, S, M, H, D = 10**6, 10**9, 60 * 10**9, 3_600 * 10**9, 86_400 * 10**9


@pytest.mark.parametrize(
    ("ns", "shown"),
    [
        (0, "0.000s"), (1, "0.000s"), (MS, "0.001s"), (10 * S - 10 * MS, "9.990s"), (10 * S, "10.00s"),
        (59 * S + 990 * MS, "59.99s"), (M, "1m00s"), (M + 59 * S, "1m59s"), (H - 1, "59m59s"), (H, "1h00m"),
        (H + 61 * M, "2h01m"), (D - 1, "23h59m"), (D, "1d00h"), (D + 25 * H + 59 * M, "2d01h"),
        (-S, "-1.000s"), (-H, "-1h00m"),
    ],
)  # fmt: skip
def test_a_duration_is_shown(ns: int, shown: str):
    assert durations.show(ns) == shown


@pytest.mark.parametrize(
    ("ns", "shown"),
    [
        (0, "0s"), (1, "0.000000001s"), (S, "1s"), (1_500 * MS, "1.5s"), (10 * S, "10s"), (M, "1m"),
        (M + S, "1m1s"), (H, "1h"), (D + 2 * H + 3 * M + 4 * S + 5 * MS, "1d2h3m4.005s"), (100 * D, "100d"),
    ],
)  # fmt: skip
def test_a_duration_is_shown_exactly(ns: int, shown: str):
    assert durations.show_exact(ns) == shown
    assert durations.parse(shown) == ns


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1ns", 1), ("1us", 1_000), ("1µs", 1_000), ("1ms", MS), ("1s", S), ("1m", M), ("1h", H), ("1d", D),
        (".5s", 500 * MS), ("1.s", S), (" 1s ", S), ("1m1m", 2 * M), ("0.9ns", 0), ("0.1s0.2s", 300 * MS),
    ],
)  # fmt: skip
def test_a_duration_is_read(text: str, ns: int):
    assert durations.parse(text) == ns


def drawn(script: Script, now_s: float | None = None, **style: object) -> list[str]:
    now_ns = None if now_s is None else BEGIN_NS + round(now_s * NS_PER_SECOND)
    return timeline.render(
        script.history, style=Style(**style), now_ns=now_ns, title="title"  # pyright: ignore[reportArgumentType]
    ).splitlines()  # fmt: skip


def steps_of_ten_seconds() -> Script:
    script = Script()
    started = script.add(
        "workflow_execution_started", 0, workflow_type=common.WorkflowType(name="T"), workflow_id="id",
        original_execution_run_id="run", input=json_payloads('"→ é"'),
    )  # fmt: skip
    started.workflow_execution_started_event_attributes.task_queue.name = "q"
    timer = script.add("timer_started", 2.5, start_to_fire_timeout=duration(5 * NS_PER_SECOND))
    script.add("activity_task_scheduled", 5, activity_type=common.ActivityType(name="slow"))
    script.add("timer_fired", 7.5, started_event_id=timer.event_id)
    return script


def test_an_open_workflow_to_the_letter():
    assert drawn(steps_of_ten_seconds(), 10) == [
        "T  title  running for 10.00s",
        "run run • task queue q • started 2026-05-28 20:26:40 UTC • 4 events",
        "     ID  AT       STEP                                       TOOK  DETAIL",
        '      1  0.000s   • workflow started ╸                             T("→ é")',
        "    2–4  2.500s   ✓ timer 5s              ━━━━━━━━━━━      5.000s  fired",
        "      3  5.000s   … activity slow              ┅┅┅┅┅┅┅┅┅┅",
    ]


def test_the_same_in_ascii_the_newest_first_and_in_detail():
    lines = drawn(steps_of_ten_seconds(), 10, alphabet=ASCII, newest_first=True, detailed=True)
    assert lines == [
        "T  title  running for 10.00s",
        "run run * task queue q * started 2026-05-28 20:26:40 UTC * 4 events",
        "     ID  AT       STEP                                               TOOK  DETAIL",
        "      4  7.500s   + TimerFired                              |              fired",
        "      3  5.000s   * ActivityTaskScheduled              |",
        "      2  2.500s   * TimerStarted                  |",
        '      1  0.000s   * WorkflowExecutionStarted |                             T("-> \\xe9")',
    ]


def test_without_the_present_an_open_workflow_ends_with_its_last_event():
    assert drawn(steps_of_ten_seconds())[0] == "T  title  running for 7.500s"
    assert drawn(steps_of_ten_seconds(), 1)[0] == "T  title  running for 7.500s", (
        "a clock that lags"
    )


def test_a_closed_workflow_does_not_reach_to_the_present():
    script = steps_of_ten_seconds()
    script.add("workflow_execution_terminated", 8, reason="enough")
    lines = drawn(script, 1_000)
    assert lines[0] == "T  title  terminated after 8.000s"
    assert "•" not in lines[-1]
    assert [line.split()[1] for line in lines[3:]] == ["0.000s", "2.500s", "5.000s", "8.000s"]


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("completed", "completed"), ("failed", "failed"), ("timed_out", "timed out"), ("canceled", "canceled"),
        ("terminated", "terminated"), ("continued_as_new", "continued as new"),
    ],
)  # fmt: skip
def test_each_end_is_said(kind: str, word: str):
    script = Script()
    script.add("workflow_execution_started", 0, workflow_id="id")
    script.add(f"workflow_execution_{kind}", 60)
    first, second, *_ = timeline.render(script.history).splitlines()
    assert first == f"id  {word} after 1m00s"
    assert second == "started 2026-05-28 20:26:40 UTC • 2 events"


def test_events_of_one_moment_can_be_drawn():
    script = Script()
    script.add("workflow_execution_started", 0)
    timer = script.add("timer_started", 0)
    script.add("timer_fired", 0, started_event_id=timer.event_id)
    assert drawn(script)[-1].split() == [
        "2–3",
        "0.000s",
        "✓",
        "timer",
        "0s",
        "━",
        "0.000s",
        "fired",
    ]


def test_a_long_name_is_cut_and_the_columns_stay():
    script = Script()
    script.add("workflow_execution_started", 0)
    for length in (29, 30, 60):
        script.add(
            "activity_task_scheduled", 1, activity_type=common.ActivityType(name="n" * length)
        )
    header, *rows = drawn(script, 2)[2:]
    column = header.index("STEP")
    names = [row[column + 2 : column + 40] for row in rows]
    assert names[1] == "activity " + "n" * 29
    assert names[2] == "activity " + "n" * 28 + "…"
    assert names[3] == names[2]
    bars = {row.index("┅") for row in rows[1:]}
    assert len(bars) == 1


@pytest.mark.parametrize("width", [10, 60, 61, 75, 500])
def test_lines_are_as_long_as_they_may_be(width: int):
    whole = timeline.render(greeting(), style=Style(width=None)).splitlines()
    cut = timeline.render(greeting(), style=Style(width=width)).splitlines()
    limit = max(width, timeline.WIDTH_MIN)
    assert cut[:2] == whole[:2], "ids are there to be copied"
    for line, shown in zip(whole[2:], cut[2:], strict=True):
        assert shown == (line if len(line) <= limit else line[: limit - 1] + "…")


def test_an_event_that_is_followed():
    script = steps_of_ten_seconds()
    lines = [timeline.event_line(event, BEGIN_NS) for event in script.history.events]
    assert lines == [
        '      1  0.000s   • workflow started                 T("→ é")',
        "      2  2.500s   • timer 5s",
        "      3  5.000s   • activity slow",
        "      4  7.500s   ✓ TimerFired                       fired",
    ]
    event = script.history.events[0]
    narrow = timeline.event_line(event, BEGIN_NS, Style(width=1, alphabet=ASCII, detailed=True))
    assert narrow == '      1  0.000s   * WorkflowExecutionStarted         T("-> ~'
    assert len(narrow) == timeline.WIDTH_MIN


def test_the_alphabets_have_the_same_letters():
    assert UNICODE.marks.keys() == ASCII.marks.keys()
    assert len(set(UNICODE.marks.values())) == len(set(ASCII.marks.values())) == 5
    letters = "".join([*ASCII.marks.values(), *(str(one) for one in ASCII[1:-1])])
    assert letters.isascii()


# ── another time zone ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(
    params=["UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Auckland", "Europe/Berlin"]
)
def zone(request: pytest.FixtureRequest) -> Generator[str]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield request.param
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def test_times_are_those_of_utc_wherever_one_is(zone: str):
    for at_s, shown in (
        (0, "2026-05-28 20:26:40"),  # summer time in the north
        (86_400 * 180, "2026-11-24 20:26:40"),  # and in the south
        (-1_780_000_000 + 1, "1970-01-01 00:00:01"),
    ):
        script = Script()
        script.add("workflow_execution_started", at_s)
        assert f"started {shown} UTC" in timeline.render(script.history)
