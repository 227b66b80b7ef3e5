from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from perdure.common import (
    AutoUpgradeVersioningOverride,
    MetricMeter,
    OneTimeVersioningOverride,
    PinnedVersioningOverride,
    Priority,
    RawValue,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkerDeploymentVersion,
)
from perdure.common.events import CompositeEvent
from perdure.common.search_attributes import key_from_metadata_type, key_guessed_from_values
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    RetryState,
    is_cancelled_exception,
)
from perdure.wire.api import common as common_pb

NAME = SearchAttributeKey.for_keyword("Name")
COUNT = SearchAttributeKey.for_int("Count")


def test_raw_value_survives_pickling() -> None:
    raw = RawValue(common_pb.Payload(metadata={"encoding": b"x"}, data=b"y"))
    assert pickle.loads(pickle.dumps(raw)) == raw


def test_raw_value_refuses_another_pickle_format() -> None:
    raw = RawValue(common_pb.Payload())
    with pytest.raises(ValueError, match="version"):
        raw.__setstate__(b"2")
    with pytest.raises(TypeError, match="Expected bytes state, got <class 'str'>"):
        raw.__setstate__("1")


def test_priority_round_trip_and_unset_fields() -> None:
    priority = Priority(priority_key=2, fairness_key="tenant", fairness_weight=2.0)
    assert Priority.from_proto(priority.to_proto()) == priority
    assert Priority.from_proto(common_pb.Priority()) == Priority.default


@pytest.mark.parametrize(
    ("key", "error", "words"),
    [
        (0, ValueError, "must be a positive integer"),
        (-1, ValueError, "must be a positive integer"),
        ("1", TypeError, "must be an integer"),
        (1.5, TypeError, "must be an integer"),
    ],
)
def test_priority_checks_its_key(key: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Priority(priority_key=key)
    assert Priority(priority_key=1).priority_key == 1
    assert Priority(fairness_key="x").priority_key is None


def test_deployment_version_in_canonical_form() -> None:
    version = WorkerDeploymentVersion("shop", "1.2")
    assert WorkerDeploymentVersion.from_canonical_string(version.to_canonical_string()) == version
    with pytest.raises(ValueError, match="format"):
        WorkerDeploymentVersion.from_canonical_string("shop")


def test_versioning_overrides() -> None:
    version = WorkerDeploymentVersion("shop", "1")
    message = {"deploymentName": "shop", "buildId": "1"}
    assert MessageToDict(PinnedVersioningOverride(version).to_proto()) == {
        "behavior": "VERSIONING_BEHAVIOR_PINNED",
        "pinnedVersion": "shop.1",
        "pinned": {"behavior": "PINNED_OVERRIDE_BEHAVIOR_PINNED", "version": message},
    }
    assert MessageToDict(AutoUpgradeVersioningOverride().to_proto()) == {
        "behavior": "VERSIONING_BEHAVIOR_AUTO_UPGRADE",
        "autoUpgrade": True,
    }
    assert MessageToDict(OneTimeVersioningOverride(version).to_proto()) == {
        "oneTime": {"targetDeploymentVersion": message}
    }


class TestSearchAttributes:
    def test_sorted_by_name_and_found_by_name_and_type(self) -> None:
        attributes = TypedSearchAttributes(
            [SearchAttributePair(NAME, "a"), SearchAttributePair(COUNT, 1)]
        )
        assert [pair.key.name for pair in attributes] == ["Count", "Name"]
        assert attributes[COUNT] == 1
        assert attributes.get(COUNT) == 1
        assert attributes.get(NAME, 5) == "a"
        assert NAME in attributes
        assert SearchAttributeKey.for_text("Name") not in attributes
        assert attributes.get(SearchAttributeKey.for_text("Name")) is None
        assert attributes.get(SearchAttributeKey.for_text("Name"), 5) == 5
        with pytest.raises(KeyError):
            attributes[SearchAttributeKey.for_text("Name")]

    def test_no_duplicates(self) -> None:
        text = SearchAttributeKey.for_text("Name")
        with pytest.raises(ValueError, match="Duplicate"):
            TypedSearchAttributes([SearchAttributePair(NAME, "a"), SearchAttributePair(text, "b")])

    def test_updated_replaces_by_name_and_adds(self) -> None:
        before = TypedSearchAttributes([SearchAttributePair(NAME, "a")])
        after = before.updated(SearchAttributePair(NAME, "b"), SearchAttributePair(COUNT, 2))
        assert (after[NAME], after[COUNT], before[NAME]) == ("b", 2, "a")
        assert len(TypedSearchAttributes.empty) == 0

    def test_updates(self) -> None:
        assert NAME.value_set("x").value == "x"
        assert NAME.value_unset().value is None

    @pytest.mark.parametrize("spelling", ["KeywordList", "INDEXED_VALUE_TYPE_KEYWORD_LIST"])
    def test_both_spellings_of_types(self, spelling: str) -> None:
        assert key_from_metadata_type("K", spelling) == SearchAttributeKey.for_keyword_list("K")
        assert SearchAttributeKey.for_keyword_list("K").origin_value_type is Sequence

    def test_unknown_type(self) -> None:
        assert key_from_metadata_type("K", "Vector") is None

    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            ([], None),
            (["a", "b"], "KeywordList"),
            (["a"], "Keyword"),
            ([True], "Bool"),
            ([1], "Int"),
            ([1.5], "Double"),
            ([datetime(2026, 1, 1, tzinfo=UTC)], "Datetime"),
            ([1, 2], None),
        ],
    )
    def test_guessing(self, values: Any, kind: str | None) -> None:
        key = key_guessed_from_values("K", values)
        assert (key.metadata_type if key else None) == kind


def test_the_noop_meter_takes_everything() -> None:
    meter = MetricMeter.noop.with_additional_attributes({"a": 1})
    counter = meter.create_counter("c", "text", "1")
    counter.add(1, {"b": True})
    meter.create_gauge("g").set(1)
    meter.create_histogram("h").record(1)
    assert (counter.name, counter.description, counter.unit) == ("c", "text", "1")


def test_composite_event_wakes_thread_and_task() -> None:
    async def wait() -> None:
        event = CompositeEvent(threading.Event(), asyncio.Event())
        assert not event.is_set()
        waiter = asyncio.ensure_future(event.wait())
        await asyncio.sleep(0)
        event.set()
        await waiter
        event.wait_sync()
        assert event.is_set()

    asyncio.run(wait())


def test_composite_event_without_its_parts() -> None:
    with pytest.raises(RuntimeError, match="Missing"):
        CompositeEvent(None, None).set()
    with pytest.raises(RuntimeError, match="async"):
        asyncio.run(CompositeEvent(threading.Event(), None).wait())


class TestErrors:
    def test_type_is_part_of_the_text_but_not_of_the_message(self) -> None:
        error = ApplicationError("no", 1, type="T")
        assert (str(error), error.message, error.details) == ("T: no", "no", (1,))

    def test_application_errors_survive_pickling(self) -> None:
        error = pickle.loads(pickle.dumps(ApplicationError("no", 1, type="T", non_retryable=True)))
        assert (error.message, error.type, list(error.details), error.non_retryable) == (
            "no",
            "T",
            [1],
            True,
        )

    def test_what_counts_as_cancelled(self) -> None:
        activity = ActivityError(
            "a",
            scheduled_event_id=1,
            started_event_id=2,
            identity="",
            activity_type="A",
            activity_id="1",
            retry_state=RetryState.CANCEL_REQUESTED,
        )
        assert not is_cancelled_exception(activity)
        activity.__cause__ = CancelledError()
        assert is_cancelled_exception(activity)
        assert is_cancelled_exception(asyncio.CancelledError())
        assert is_cancelled_exception(CancelledError())
        assert not is_cancelled_exception(ValueError())
