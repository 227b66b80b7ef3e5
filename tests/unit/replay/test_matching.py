"""Mismatches as data, the patch rules, and the report."""

from __future__ import annotations

import sys

import msgspec
import pytest

from perdure.replay import commands as cmd
from perdure.replay.commands import Frame
from perdure.replay.mismatch import AttributeDiff, Mismatch, Rule
from perdure.replay.report import render
from perdure.wire.api import common, sdk
from tests.unit.replay.build import Driver, Events, activity, live, payload, script, timer
from tests.unit.replay.test_engine import types


def mismatch(driver: Driver) -> Mismatch:
    found = driver.engine.mismatch
    assert found is not None, driver.engine.error
    return found


def recorded(*names: str) -> Events:
    """A first task that scheduled these activities, and a second one."""
    events = Events().start().completed()
    for number, name in enumerate(names, 1):
        events.activity(str(number), name)
    return events.signal().task()


def test_another_kind_of_command() -> None:
    found = mismatch(Driver(script([timer()])).replay(recorded("charge")))
    assert found.rule is Rule.WRONG_COMMAND
    assert (found.event.event_id, found.event.name, found.event.id) == (5, "charge", "1")
    assert found.command is not None
    assert found.command.id == "1"
    assert found.task_started_event_id == 3


def test_a_missing_command_shows_both_sequences() -> None:
    found = mismatch(Driver(script([activity(1)])).replay(recorded("charge", "ship")))
    assert found.rule is Rule.NO_COMMAND
    assert [event.name for event in found.task_events] == ["charge", "ship"]
    assert [command.name for command in found.task_commands] == ["charge"]


def test_another_activity_type() -> None:
    found = mismatch(Driver(script([activity(1, "refund")])).replay(recorded("charge")))
    assert found.rule is Rule.ATTRIBUTE
    assert found.difference == AttributeDiff("activity type", "charge", "refund")
    assert found.command is not None
    assert found.command.name == "refund"


def test_types_are_not_compared_in_histories_from_before_that_check() -> None:
    events = Events().start().completed(None)
    events.activity("1", "charge")
    events.signal().task().completed(None).signal().task().completed(None)
    assert Driver(script([activity(1, "refund")])).replay(events).engine.error is None


def test_a_command_that_never_was_is_found_when_it_gets_in_the_way() -> None:
    events = recorded("charge").completed()
    events.timer("1")
    events.signal().task()
    found = mismatch(Driver(script([activity(), activity(2)], [timer()])).replay(events))
    assert found.rule is Rule.LEFTOVER_COMMAND
    assert found.event.event_id == 10
    assert found.command is not None
    assert found.command.id == "2"


def test_an_event_of_an_operation_that_never_was() -> None:
    events = Events().start().completed()
    events.fired(77).task()
    found = mismatch(Driver(script()).replay(events))
    assert found.rule is Rule.UNKNOWN_OPERATION


def test_a_marker_of_another_language() -> None:
    events = Events().start().completed()
    events.add("MarkerRecorded", marker_name="SideEffect")
    events.signal().task()
    found = mismatch(Driver(script()).replay(events))
    assert found.rule is Rule.FOREIGN_MARKER
    assert "Go or Java" in render(found)


# --- patches ---


def patched(patch_id: str = "p", *, deprecated: bool = False) -> cmd.SetPatchMarker:
    return cmd.SetPatchMarker(patch_id=patch_id, deprecated=deprecated)


def test_a_new_patch_records_a_marker_and_lists_all_patches() -> None:
    answer = Driver(script([patched("b"), patched("a"), patched("b")])).feed(live(Events().start()))
    upsert = "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES"
    assert types(answer) == ["RECORD_MARKER", upsert, "RECORD_MARKER", upsert]
    attributes = answer.commands[3].upsert_workflow_search_attributes_command_attributes
    value = attributes.search_attributes.indexed_fields["TemporalChangeVersion"]
    assert value.data == b'["a","b"]'
    assert value.metadata["type"] == b"KeywordList"


def test_history_announces_its_patches_before_the_code_runs() -> None:
    events = Events().start().completed()
    events.marker("p")
    events.change_version("p")
    events.signal().task()
    driver = Driver(script([patched()]))
    driver.feed(live(events, previous=3))
    assert driver.engine.error is None
    assert driver.jobs[0] == ["InitializeWorkflow", "NotifyHasPatch"]


def test_a_patch_that_history_lacks_is_passed_over() -> None:
    events = recorded("charge")
    assert Driver(script([patched(), activity()])).replay(events).engine.error is None


def test_a_removed_patch_must_be_deprecated_first() -> None:
    for deprecated in (False, True):
        events = Events().start().completed()
        events.marker("p", deprecated=deprecated)
        events.change_version("p")
        events.activity()
        events.signal().task()
        engine = Driver(script([activity()])).replay(events).engine
        if deprecated:
            assert engine.error is None
        else:
            assert engine.mismatch is not None
            assert engine.mismatch.rule is Rule.PATCH_MISSING
            assert 'workflow.deprecate_patch("p")' in render(engine.mismatch)


def test_a_deprecated_marker_of_another_patch_is_passed_over() -> None:
    events = Events().start().completed()
    events.marker("old", deprecated=True)
    events.marker("p")
    events.change_version("old", "p")
    events.signal().task()
    assert Driver(script([patched()])).replay(events).engine.error is None


def test_another_patch_id_is_a_mismatch() -> None:
    events = Events().start().completed()
    events.marker("p")
    events.signal().task()
    found = mismatch(Driver(script([patched("q")])).replay(events))
    assert found.difference == AttributeDiff("patch id", "p", "q")


def test_old_markers_with_raw_bytes_are_read() -> None:
    events = Events().start().completed(None)
    details = {
        "patch_id": common.Payloads(payloads=[common.Payload(data=b"p")]),
        "deprecated": common.Payloads(payloads=[common.Payload(data=b"\x00")]),
    }
    events.add("MarkerRecorded", marker_name="core_patch", details=details)
    events.signal().task().completed(None)
    driver = Driver(script([patched()])).replay(events)
    assert driver.engine.error is None
    assert driver.jobs[0] == ["InitializeWorkflow", "NotifyHasPatch"]


def test_the_engines_search_attribute_can_not_be_set_by_hand() -> None:
    attributes = common.SearchAttributes(indexed_fields={"TemporalChangeVersion": payload()})
    upsert = cmd.UpsertSearchAttributes(search_attributes=attributes)
    answer = Driver(script([upsert])).feed(live(Events().start()))
    assert types(answer) == ["UPSERT_WORKFLOW_SEARCH_ATTRIBUTES"]
    sent = answer.commands[0].upsert_workflow_search_attributes_command_attributes
    assert not sent.search_attributes.indexed_fields


def test_too_many_patches_are_no_longer_listed() -> None:
    many = [patched("p" * 300 + str(n)) for n in range(8)]
    answer = Driver(script(many)).feed(live(Events().start()))
    assert types(answer).count("RECORD_MARKER") == 8
    assert types(answer).count("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES") == 6


# --- the report ---


def here() -> Frame:
    caller = sys._getframe(1)
    return Frame(caller.f_code, caller.f_lasti)


def test_the_report_shows_line_sequences_and_advice() -> None:
    site = (here(),)
    code = cmd.StartTimer(seq=1, start_to_fire_timeout_ns=1, site=site)
    found = mismatch(Driver(script([activity(1), code])).replay(recorded("charge", "ship")))
    text = render(found, lambda _file, line: f"source of line {line}")
    line = site[0].code.co_firstlineno + 1
    assert text.startswith(
        "[TMPRL1100] Nondeterminism: history event 6 is ActivityTaskScheduled(ship id 2), "
        "but the code issued TimerStarted(id 1)"
    )
    assert f"test_matching.py:{line}" in text
    assert f">  {line:>4} | source of line {line}" in text
    assert "=    5 ActivityTaskScheduled(charge id 1)" in text
    assert "≠    6 ActivityTaskScheduled(ship id 2)" in text
    assert 'if workflow.patched("my-change"):' in text
    assert len(text.splitlines()) < 30


def test_the_report_names_reordering() -> None:
    code = [activity(1, "ship"), activity(2, "charge")]
    found = mismatch(Driver(script(code)).replay(recorded("charge", "ship")))
    assert "in another order" in render(found)


def test_the_report_names_ids_that_are_not_deterministic() -> None:
    code = cmd.ScheduleActivity(seq=1, activity_id="7f3a", activity_type="charge")
    text = render(mismatch(Driver(script([code])).replay(recorded("charge"))))
    assert "workflow.uuid4()" in text
    assert "activity id '1'; the code has '7f3a'" in text


def test_the_report_never_shows_payloads() -> None:
    code = cmd.ScheduleActivity(seq=1, activity_type="refund", arguments=[payload("secret")])
    assert "secret" not in render(mismatch(Driver(script([code])).replay(recorded("charge"))))


def test_a_long_task_is_cut_around_the_difference() -> None:
    names = [f"step{n}" for n in range(60)]
    code = [activity(n, name) for n, name in enumerate(names, 1)]
    code[40] = activity(41, "other")
    text = render(mismatch(Driver(script(code)).replay(recorded(*names))))
    assert "… 37 equal before" in text
    assert "other" in text
    assert len(text.splitlines()) < 35


@pytest.mark.parametrize("rule", list(Rule))
def test_every_rule_has_a_sentence(rule: Rule) -> None:
    found = mismatch(Driver(script([timer()])).replay(recorded("charge")))
    assert render(msgspec.structs.replace(found, rule=rule)).startswith("[TMPRL1100]")


def test_sdk_metadata_of_history_is_in_the_mismatch() -> None:
    metadata = sdk.WorkflowTaskCompletedMetadata(sdk_name="temporal-go", sdk_version="1.30")
    events = Events().start().completed(metadata)
    events.activity()
    events.signal().task()
    found = mismatch(Driver(script([])).replay(events))
    assert found.history_sdk == ("temporal-go", "1.30")
    assert "written by temporal-go 1.30" in render(found)
