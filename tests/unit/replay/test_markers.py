"""What markers and flags say, byte by byte: old and new forms, and forms that say nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perdure.replay import flags as flags_module
from perdure.replay.flags import Flag, Flags
from perdure.replay.markers import (
    ENGINE_DETAILS,
    MAX_CHANGE_VERSION_BYTES,
    Patch,
    change_version_payload,
    is_local_activity_marker,
    json_payload,
    patch_details,
    read_local_activity,
    read_patch,
)
from perdure.wire.api import common, failure, history, sdk
from tests.unit.replay.build import Events

LOCAL: dict[str, Any] = {"seq": 1, "attempt": 1, "activity_id": "a", "activity_type": "t"}


def raw(**details: bytes | None) -> dict[str, common.Payloads]:
    return {
        name: common.Payloads(payloads=[] if data is None else [common.Payload(data=data)])
        for name, data in details.items()
    }


def marker(name: str, details: dict[str, common.Payloads], **more: Any) -> history.HistoryEvent:
    events = Events()
    events.add("MarkerRecorded", marker_name=name, details=details, **more)
    return events[0]


@pytest.mark.parametrize(
    ("details", "patch"),
    [
        (raw(patch_id=b"p", deprecated=b"\x00"), Patch("p", deprecated=False)),
        (raw(patch_id=b"p", deprecated=b"\x01"), Patch("p", deprecated=True)),
        (raw(patch_id=b"p", deprecated=b"\x02\x00"), Patch("p", deprecated=True)),
        (raw(patch_id=b"p", deprecated=b""), None),
        (raw(patch_id=b"p", deprecated=None), None),
        (raw(patch_id=b"p"), None),
        (raw(patch_id=None, deprecated=b"\x01"), None),
        (raw(deprecated=b"\x01"), None),
        (raw(patch_id=b"\xff", deprecated=b"\x01"), None),
        (raw(), None),
        (patch_details("ü", deprecated=False), Patch("ü", deprecated=False)),
        ({"patch-data": common.Payloads()}, None),
    ],
)
def test_both_forms_of_patch_markers(
    details: dict[str, common.Payloads], patch: Patch | None
) -> None:
    assert read_patch(marker("core_patch", details)) == patch
    assert read_patch(marker("other", details)) is None


@pytest.mark.parametrize("details", [raw(), raw(data=None), raw(data=b"x", input=b"y")])
@pytest.mark.parametrize("name", ["core_patch", "core_local_activity"])
def test_a_marker_that_is_read_stays_as_it_is(
    name: str, details: dict[str, common.Payloads]
) -> None:
    event = marker(name, details)
    before = event.SerializeToString(deterministic=True)
    assert read_patch(event) is None
    assert read_local_activity(event) is None
    assert event.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("result", "failed", "read"),
    [
        ([b"first", b"last"], False, b"last"),
        ([], False, b""),
        (None, False, b""),
        ([], True, None),
        (None, True, None),
    ],
)
def test_a_local_activity_has_a_result_or_a_failure(
    result: list[bytes] | None, failed: bool, read: bytes | None
) -> None:
    details = raw(data=json.dumps(LOCAL).encode())
    if result is not None:
        payloads = [common.Payload(data=data) for data in result]
        details["result"] = common.Payloads(payloads=payloads)
    why = failure.Failure(message="why")
    said = read_local_activity(
        marker("core_local_activity", details, **({"failure": why} if failed else {}))
    )
    assert said is not None
    assert said.result == (None if read is None else common.Payload(data=read))
    assert said.failure == (why if failed else None)


def test_other_events_hold_no_patch_and_no_local_activity() -> None:
    events = Events()
    events.timer("1")
    event = events[0]
    event.marker_recorded_event_attributes.marker_name = "core_patch"
    event.marker_recorded_event_attributes.details["patch-data"].CopyFrom(
        patch_details("p", deprecated=True)["patch-data"]
    )
    assert read_patch(event) is None
    event.marker_recorded_event_attributes.marker_name = "core_local_activity"
    assert not is_local_activity_marker(event)


def test_a_codec_leaves_what_the_engine_writes_alone() -> None:
    assert set(patch_details("p", deprecated=True)) <= ENGINE_DETAILS["core_patch"]
    assert dict(ENGINE_DETAILS) == {
        "core_patch": {"patch-data", "patch_id", "deprecated"},
        "core_local_activity": {"data"},
    }


def test_markers_are_written_for_people() -> None:
    payload = json_payload({"id": "ü", "n": [1, None]}, type=b"T")
    assert payload.data == '{"id":"ü","n":[1,null]}'.encode()
    assert dict(payload.metadata) == {"encoding": b"json/plain", "type": b"T"}


def test_the_list_of_patches_is_left_out_when_it_is_too_large() -> None:
    longest = MAX_CHANGE_VERSION_BYTES - len('[""]')
    assert change_version_payload(["p" * longest]) is None
    fitting = change_version_payload(["p" * (longest - 1)])
    assert fitting is not None
    assert len(fitting.data) == MAX_CHANGE_VERSION_BYTES - 1 == 2047


def local(result: common.Payloads | None = None, **more: Any) -> history.HistoryEvent:
    details = raw(data=json.dumps(LOCAL | more).encode())
    if result is not None:
        details["result"] = result
    return marker("core_local_activity", details)


def test_what_a_local_activitys_marker_leaves_out_is_not_there() -> None:
    read = read_local_activity(local())
    assert read is not None
    assert (read.seq, read.attempt, read.activity_id, read.activity_type) == (1, 1, "a", "t")
    times = (read.complete_time_ns, read.backoff_ns, read.original_schedule_time_ns)
    assert (*times, read.activation_index) == (None,) * 4
    assert read.result == common.Payload()


@pytest.mark.parametrize(("texts", "result"), [("", b""), ("x", b"x"), ("xy", b"y")])
def test_the_last_payload_is_the_result(texts: str, result: bytes) -> None:
    payloads = common.Payloads(payloads=[common.Payload(data=each.encode()) for each in texts])
    read = read_local_activity(local(payloads))
    assert read is not None
    assert read.result is not None
    assert read.result.data == result


@pytest.mark.parametrize("missing", ["seq", "attempt", "activity_id", "activity_type"])
def test_a_local_activitys_marker_without_a_field_can_not_be_read(missing: str) -> None:
    data = {name: value for name, value in LOCAL.items() if name != missing}
    details = raw(data=json.dumps(data).encode())
    assert read_local_activity(marker("core_local_activity", details)) is None
    assert read_local_activity(marker("core_local_activity", raw(data=None))) is None
    assert read_local_activity(marker("core_local_activity", {})) is None


def test_times_are_seconds_and_nanoseconds() -> None:
    read = read_local_activity(
        local(
            complete_time={"seconds": 3, "nanos": 4},
            backoff={"seconds": 0, "nanos": 5},
            original_schedule_time={"seconds": 6, "nanos": 0},
            activation_index=7,
        )
    )
    assert read is not None
    assert (read.complete_time_ns, read.backoff_ns) == (3_000_000_004, 5)
    assert (read.original_schedule_time_ns, read.activation_index) == (6_000_000_000, 7)


# --- flags ---


def observed(flags: Flags, **fields: Any) -> Flags:
    metadata = sdk.WorkflowTaskCompletedMetadata(**fields)
    flags.observe(history.WorkflowTaskCompletedEventAttributes(sdk_metadata=metadata))
    return flags


def test_what_history_has_is_not_written_again_and_not_forgotten() -> None:
    flags = Flags(can_write=True, sdk_name="ours", sdk_version="1")
    observed(flags, core_used_flags=[1, 77], lang_used_flags=[5])
    flags.add_lang([9, 5, 8])
    first, second = flags.take_metadata(), flags.take_metadata()
    assert list(first.core_used_flags) == [2, 3, 4]
    assert list(first.lang_used_flags) == [8, 9]
    assert not second.core_used_flags
    assert not second.lang_used_flags
    assert (flags.core, flags.lang) == ({1, 2, 3, 4, 77}, {5, 8, 9})
    assert all(flags.may_use(flag, record=False) for flag in Flag)


def test_runs_with_the_same_flags_share_one_set_as_long_as_the_sets_are_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known: dict[frozenset[int], frozenset[int]] = {}
    monkeypatch.setattr(flags_module, "_known_sets", known)

    def lang(*numbers: int) -> frozenset[int]:
        flags = Flags(can_write=True, sdk_name="", sdk_version="")
        metadata = sdk.WorkflowTaskCompletedMetadata(lang_used_flags=numbers)
        flags.observe(history.WorkflowTaskCompletedEventAttributes(sdk_metadata=metadata))
        return flags.lang

    first = lang(1, 2)
    assert lang(2, 1) is first
    for number in range(200):
        assert lang(number) == {number}
    assert len(known) == 100, "a process that sees many sets does not keep them all"
    assert lang(1, 2) is first


def test_a_task_that_names_no_sdk_leaves_the_name_as_it_was() -> None:
    flags = Flags(can_write=True, sdk_name="ours", sdk_version="1")
    observed(flags, sdk_name="theirs", sdk_version="9")
    observed(flags, core_used_flags=[1])
    assert flags.history_sdk == ("theirs", "9")
    observed(flags, sdk_version="10")
    assert flags.history_sdk == ("theirs", "10")
    flags.observe(history.WorkflowTaskCompletedEventAttributes())
    assert flags.history_sdk == ("theirs", "10")


def test_a_worker_that_may_not_write_uses_and_writes_nothing() -> None:
    flags = Flags(can_write=False, sdk_name="ours", sdk_version="1")
    flags.add_lang([5])
    assert not any(flags.may_use(flag, record=True) for flag in Flag)
    assert flags.take_metadata() == sdk.WorkflowTaskCompletedMetadata()
    assert not flags.core
