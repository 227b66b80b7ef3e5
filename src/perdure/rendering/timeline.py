"""A history drawn as a timeline. Pure: `History -> text`.

Role: what `perdure workflow show` prints, and `make demo`, and a failing workflow test. One line per step with its
event ids, the time since the start, a bar on a common scale, and what went in and came out.

Invariants: no clock and no terminal is asked; the caller says the width, the present time and the alphabet.

Example of the output:

    Greeting  greeting-1                                              completed in 10.03s
       ID  AT       STEP                                               DETAIL
        1  0.000s   ▶ workflow started         ▏                      Greeting("World")
      5-6  0.004s   ✓ timer 10s                ━━━━━━━━━━━━━━━━━━━     10.00s  fired
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from perdure.rendering import durations
from perdure.rendering.steps import State, Step, each_event, one_event, steps
from perdure.rendering.visible import visible
from perdure.wire.api import enums
from perdure.wire.times import timestamp_ns

if TYPE_CHECKING:
    from perdure.wire.api import history

BAR_COLUMNS = 20
STEP_COLUMNS_MAX = 40
WIDTH_MIN = 60


class Alphabet(NamedTuple):
    """The characters of a drawing."""

    marks: dict[State, str]
    bar: str
    open_bar: str
    moment: str
    cut: str
    dash: str
    ascii_only: bool = False


UNICODE = Alphabet(
    marks={
        State.INSTANT: "•",
        State.OPEN: "…",
        State.DONE: "✓",
        State.FAILED: "✗",
        State.CANCELED: "⊘",
    },
    bar="━",
    open_bar="┅",
    moment="╸",
    cut="…",
    dash="–",
)
ASCII = Alphabet(
    marks={
        State.INSTANT: "*",
        State.OPEN: ".",
        State.DONE: "+",
        State.FAILED: "!",
        State.CANCELED: "-",
    },
    bar="=",
    open_bar="-",
    moment="|",
    cut="~",
    dash="-",
    ascii_only=True,
)


class Style(NamedTuple):
    """How to draw. `width` is in columns; None never cuts a line."""

    width: int | None = 120
    alphabet: Alphabet = UNICODE
    detailed: bool = False
    """One line per event instead of one per step."""
    newest_first: bool = False


DEFAULT_STYLE = Style()

CLOSE_EVENTS = frozenset(
    (
        enums.EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
        enums.EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
        enums.EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
        enums.EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
        enums.EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
        enums.EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
    )
)


def render(
    recorded: history.History,
    *,
    style: Style = DEFAULT_STYLE,
    now_ns: int | None = None,
    title: str = "",
) -> str:
    """Draw a history.

    Args:
        recorded: Events from the first on, without gaps.
        style: Width, alphabet and level of detail.
        now_ns: The present, in nanoseconds since the epoch: how far the bars of open steps reach. None takes the time
            of the last event.
        title: Shown in the headline in place of the workflow's id.

    Returns:
        Lines without a newline at the end.
    """
    if not recorded.events:
        return "no events"
    begin_ns = timestamp_ns(recorded.events[0].event_time)
    last_ns = timestamp_ns(recorded.events[-1].event_time)
    end_ns = max(last_ns, now_ns or 0) if _is_open(recorded) else last_ns
    rows = each_event(recorded.events) if style.detailed else steps(recorded.events)
    scale = _Scale(begin_ns, max(end_ns - begin_ns, 1))
    step_columns = min(STEP_COLUMNS_MAX, max(len(row.what) for row in rows) + 2)
    lines = [_row(row, scale, step_columns, style) for row in rows]
    if style.newest_first:
        lines.reverse()
    # Ids in the headline are there to be copied, so it is never cut.
    head = _headline(recorded, end_ns - begin_ns, title, style)
    table = [_columns(step_columns), *lines]
    return "\n".join(
        [*(_spelled(line, style) for line in head), *(_fitted(line, style) for line in table)]
    )


def event_line(
    event: history.HistoryEvent, begin_ns: int, style: Style = DEFAULT_STYLE
) -> str | None:
    """One event as a line of its own, for following a workflow as it runs.

    Args:
        event: The event.
        begin_ns: Time of the workflow's first event, in nanoseconds since the epoch.
        style: Width and alphabet; `detailed` shows workflow tasks too.

    Returns:
        None for an event that is only plumbing.
    """
    row = each_event([event])[0] if style.detailed else one_event(event)
    if row is None:
        return None
    at = durations.show(timestamp_ns(event.event_time) - begin_ns)
    mark = style.alphabet.marks[row.state]
    line = f"{event.event_id:>7}  {at:<8} {mark} {row.what:<32} {row.detail}"
    return _fitted(line, style)


class _Scale(NamedTuple):
    begin_ns: int
    length_ns: int

    def column(self, time_ns: int) -> int:
        return min(BAR_COLUMNS - 1, (time_ns - self.begin_ns) * BAR_COLUMNS // self.length_ns)


def _headline(recorded: history.History, length_ns: int, title: str, style: Style) -> list[str]:
    started = recorded.events[0].workflow_execution_started_event_attributes
    if _is_open(recorded):
        status = f"running for {durations.show(length_ns)}"
    else:
        closed = steps(recorded.events[-1:])[0].what.removeprefix("workflow ")
        status = f"{closed} after {durations.show(length_ns)}"
    begin = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        microseconds=timestamp_ns(recorded.events[0].event_time) // 1000
    )
    name = f"{started.workflow_type.name}  {title or started.workflow_id}".strip()
    facts = [
        f"run {started.original_execution_run_id}" if started.original_execution_run_id else "",
        f"task queue {started.task_queue.name}" if started.task_queue.name else "",
        f"started {begin:%Y-%m-%d %H:%M:%S} UTC",
        f"{len(recorded.events)} events",
    ]
    separator = f" {style.alphabet.marks[State.INSTANT]} "
    return [f"{name}  {status}", separator.join(fact for fact in facts if fact)]


def _columns(step_columns: int) -> str:
    return f"{'ID':>7}  {'AT':<8} {'STEP':<{step_columns}} {'':<{BAR_COLUMNS}} {'TOOK':>7}  DETAIL"


def _row(row: Step, scale: _Scale, step_columns: int, style: Style) -> str:
    letters = style.alphabet
    first, last = row.event_ids[0], row.event_ids[-1]
    ids = str(first) if first == last else f"{first}{letters.dash}{last}"
    name = row.what
    if len(name) > step_columns - 2:
        name = name[: step_columns - 3] + letters.cut
    took = (
        durations.show(row.end_ns - row.begin_ns) if row.end_ns and len(row.event_ids) > 1 else ""
    )
    at = durations.show(row.begin_ns - scale.begin_ns)
    what = f"{letters.marks[row.state]} {name}"
    bar = _bar(row, scale, letters)
    return f"{ids:>7}  {at:<8} {what:<{step_columns}} {bar:<{BAR_COLUMNS}} {took:>7}  {row.detail}"


def _bar(row: Step, scale: _Scale, letters: Alphabet) -> str:
    begin = scale.column(row.begin_ns)
    if len(row.event_ids) == 1 and row.state is not State.OPEN:
        return " " * begin + letters.moment
    if row.end_ns is None:
        return " " * begin + letters.open_bar * (BAR_COLUMNS - begin)
    return " " * begin + letters.bar * (scale.column(row.end_ns) - begin + 1)


def _is_open(recorded: history.History) -> bool:
    return recorded.events[-1].event_type not in CLOSE_EVENTS


def _fitted(line: str, style: Style) -> str:
    # Spelled first: in ASCII a letter may take several columns.
    line = _spelled(line.rstrip(), style)
    if style.width is None:
        return line
    width = max(style.width, WIDTH_MIN)
    return line if len(line) <= width else line[: width - 1] + style.alphabet.cut


def _spelled(line: str, style: Style) -> str:
    """For an ASCII alphabet the details' arrows, and whatever the payloads hold, in ASCII too."""
    line = visible(line)
    if not style.alphabet.ascii_only:
        return line
    return line.replace("→", "->").replace("←", "<-").encode("ascii", "backslashreplace").decode()
