"""Pages are the server's business: wherever a history is cut, the run is replayed alike."""

from __future__ import annotations

import pytest

from tests.unit.replay.script import Script

BUSY = """
start
WorkflowTaskFailed scheduled_event_id=2 started_event_id=3 cause=24
task
completed sdk_metadata.lang_used_flags=1
patch-marker p
change-version p
TimerStarted timer_id=1
ActivityTaskScheduled activity_id=1 activity_type=charge
WorkflowExecutionSignaled signal_name=a
task
completed
task
completed
WorkflowExecutionUpdateAccepted protocol_instance_id=u1 accepted_request_sequencing_event_id=15 accepted_request=
MarkerRecorded marker_name=core_local_activity marker.seq=2 marker.complete=30s marker.index=1 details.result=yes
TimerFired timer_id=1 started_event_id=10
ActivityTaskStarted scheduled_event_id=11
ActivityTaskCompleted scheduled_event_id=11 started_event_id=22 result=paid
task
WorkflowTaskTimedOut scheduled_event_id=24 started_event_id=25
WorkflowExecutionSignaled signal_name=b
task
completed
""".strip().splitlines()
CODE = """
> SetPatchMarker patch_id=p ; StartTimer seq=1 start_to_fire_timeout_ns=1s ; ScheduleActivity seq=1 activity_type=charge
>
> Accept u1 ; ScheduleLocalActivity seq=2 activity_type=check
>
>
""".strip().splitlines()
ENDS = [
    ["WorkflowExecutionCompleted"],
    ["WorkflowExecutionTerminated"],
    ["WorkflowExecutionSignaled signal_name=c", "task"],
    [],
]
LENGTH = 32


def replayed(end: list[str], feed: str) -> list[str]:
    """What the engine says, but for the pages that it asks for."""
    script = Script()
    code = [*CODE[:-1], "> CompleteWorkflow"] if end == ENDS[0] else CODE
    return [line for line in script.run([*BUSY, *end, *code, feed]) if "need page" not in line]


@pytest.mark.parametrize("end", ENDS, ids=["completed", "terminated", "waiting", "open"])
def test_pages_of_any_size_are_replayed_alike(end: list[str]) -> None:
    whole = replayed(end, "feed previous=28")
    assert not any(line.startswith(("fatal", "mismatch")) for line in whole)
    assert sum(line.startswith("activation") for line in whole) >= 4
    for size in range(1, LENGTH):
        assert replayed(end, f"feed previous=28 page={size}") == whole, size


@pytest.mark.parametrize("end", ENDS[2:], ids=["waiting", "open"])
def test_a_cold_worker_replays_alike_wherever_the_sticky_history_begins(end: list[str]) -> None:
    whole = replayed(end, "feed previous=28")
    for begin in range(2, LENGTH - 1):
        assert replayed(end, f"feed cold previous=28 begin={begin}") == whole, begin


def test_pages_are_asked_for_only_when_they_are_needed() -> None:
    """The first activation needs the second sequence, and not the third."""
    lines = Script().run([*BUSY, *CODE, "feed previous=28 page=5"])
    kinds = [line.split()[0] for line in lines if line.startswith(("need", "activation"))]
    assert kinds == [*["need"] * 3, *["activation"] * 2, *["need"] * 2, *["activation"] * 3]
