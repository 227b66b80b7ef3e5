"""Builds of workers: the search attribute that names them, and reset points that expire (S-50)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perdure.core.limits import Limits
from perdure.core.units import DAY_NS, HOUR_NS, MINUTE_NS
from perdure.history.draft.visible import search_attributes_of, visibility_row, without_builds
from perdure.history.state.fold.marker import with_build
from perdure.wire.api import common
from perdure.wire.times import timestamp_ns
from tests.harness import builders
from tests.unit.history.harness import T0_NS, Run, complete_workflow, start_request

AGAIN = {"force_create_new_workflow_task": True, "return_new_workflow_task": False}


def stamp(build_id: str, *, use_versioning: bool = False) -> dict[str, Any]:
    version = common.WorkerVersionStamp(build_id=build_id, use_versioning=use_versioning)
    return {"worker_version_stamp": version, **AGAIN}


def attribute(data: bytes) -> common.SearchAttributes:
    payload = common.Payload(metadata={"encoding": b"json/plain"}, data=data)
    return common.SearchAttributes(indexed_fields={"BuildIds": payload})


def upsert(data: bytes) -> Any:
    return builders.command("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES", search_attributes=attribute(data))


def builds(run: Run) -> list[str] | None:
    fields = search_attributes_of(run.state).indexed_fields
    if "BuildIds" not in fields:
        return None
    assert dict(fields["BuildIds"].metadata) == {"encoding": b"json/plain", "type": b"KeywordList"}
    return json.loads(fields["BuildIds"].data)


def started(limits: Limits | None = None, **fields: Any) -> Run:
    run = Run(limits=limits or Limits())
    run.start(start_request(**fields))
    return run


def test_rule_50_completions_name_their_build() -> None:
    run = started()
    assert builds(run) is None
    run.step(**AGAIN)
    assert builds(run) is None
    for build_id in ("b1", "b2", "b1"):
        run.step(**stamp(build_id))
    assert builds(run) == ["unversioned", "unversioned:b1", "unversioned:b2"]
    run.step(**AGAIN)
    run.step(**stamp("v", use_versioning=True))
    assert builds(run) == ["unversioned:b1", "unversioned:b2", "versioned:v"]
    run.step(complete_workflow(), **stamp("b3"))
    assert builds(run) == [
        "unversioned", "unversioned:b1", "unversioned:b2", "versioned:v", "unversioned:b3",
    ]  # fmt: skip
    assert run.last is not None
    assert run.last.visibility == visibility_row(run.state)


def test_rule_50_an_upsert_counts_until_the_next_completion() -> None:
    run = started(search_attributes=attribute(b'["mine"]'))
    run.step(**stamp("b1"))
    assert builds(run) == ["unversioned", "mine", "unversioned:b1"]
    run.step(upsert(b"null"), **stamp("b2"))
    assert builds(run) is None
    run.step(**stamp("b2"))
    assert builds(run) == ["unversioned", "unversioned:b2"]


def test_rule_50_the_oldest_builds_are_left_out() -> None:
    run = started()
    names = [f"{number:03}" + "é" * 125 for number in range(12)]
    for name in names:
        run.step(**stamp(name))
    kept = builds(run)
    assert kept == ["unversioned", *(f"unversioned:{name}" for name in names[-7:])]
    run.step(**stamp("x" * 3_000))
    assert builds(run) == ["unversioned", "unversioned:" + "x" * 3_000]


@pytest.mark.parametrize("data", [b'"a"', b"{", b"7", b"\xff", b"", b"[1, {}]", b"[" * 2_000])
def test_rule_50_what_earlier_versions_let_in_does_no_harm(data: bytes) -> None:
    old = attribute(data).indexed_fields["BuildIds"].SerializeToString()
    ((name, new),) = with_build((("BuildIds", old),), "b", is_versioned=False)
    assert name == "BuildIds"
    assert json.loads(common.Payload.FromString(new).data) == ["unversioned", "unversioned:b"]


def test_rule_50_rows_of_lists_may_lack_builds() -> None:
    run = started()
    assert run.last is not None
    before = run.last.visibility
    assert before is not None
    run.step(**stamp("b1"))
    now = visibility_row(run.state)
    assert now.search_attributes != before.search_attributes
    assert without_builds(now).search_attributes == before.search_attributes


def test_rule_50_reset_points_expire_with_the_run_that_closes() -> None:
    first = started(Limits(retention_default_ns=DAY_NS))
    first.pass_time(MINUTE_NS)
    first.step(builders.continue_as_new(), **stamp("b1"))
    second = first.successor
    assert second is not None
    assert builds(second) is None
    second.sleep(HOUR_NS)
    second.step(builders.continue_as_new(), **stamp("b2"))
    third = second.successor
    assert third is not None
    points = third.event("WorkflowExecutionStarted").prev_auto_reset_points.points
    assert [point.build_id for point in points] == ["b1", "b2"]
    expected = [T0_NS + MINUTE_NS + DAY_NS, T0_NS + MINUTE_NS + HOUR_NS + DAY_NS]
    assert [timestamp_ns(point.expire_time) for point in points] == expected
    assert [point.expires_ns for point in third.state.reset_points] == expected


def test_rule_50_reset_points_of_runs_that_are_kept_do_not_expire() -> None:
    run = started()
    run.step(builders.continue_as_new(), **stamp("b1"))
    assert run.successor is not None
    [point] = run.successor.event("WorkflowExecutionStarted").prev_auto_reset_points.points
    assert not point.HasField("expire_time")
