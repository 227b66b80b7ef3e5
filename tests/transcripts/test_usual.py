"""What transcripts leave out can be told from what they show."""

from __future__ import annotations

import msgspec
import pytest

from perdure.entity.transition import VisibilityRow
from perdure.history.state.facts import WorkflowTask
from perdure.history.state.pointer import CurrentRun
from perdure.wire.api import history, workflowservice
from tests.transcripts.usual import USUAL, Same, unusual

STRUCTS: dict[str, type[msgspec.Struct]] = {
    each.__name__: each for each in (CurrentRun, VisibilityRow, WorkflowTask)
}


def fields_of(kind: str) -> set[str]:
    if kind in STRUCTS:
        return set(STRUCTS[kind].__struct_fields__)
    message = getattr(history, f"{kind}EventAttributes", None) or getattr(workflowservice, kind)
    return set(message.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize("kind", USUAL)
def test_usual_values_belong_to_fields_that_exist(kind: str):
    usual = USUAL[kind]
    others = {each.field for each in usual.values() if isinstance(each, Same)}
    assert usual.keys() | others <= fields_of(kind)


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"run_id": "r", "first_run_id": "r"}, ["run_id=r"]),
        ({"run_id": "r", "first_run_id": "s"}, ["run_id=r", "first_run_id=s"]),
        ({"run_id": "r"}, ["run_id=r", "first_run_id=unset"]),
        ({"first_run_id": "r"}, ["first_run_id=r"]),
    ],
)
def test_the_same_as_another_field(fields: dict[str, str], shown: list[str]):
    assert unusual("CurrentRun", fields) == shown


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"identity": "worker", "attempt": "1"}, []),
        ({"identity": "worker", "attempt": "2", "request_id": "p"}, ["attempt=2", "request_id=p"]),
        ({}, ["identity=unset", "attempt=unset"]),
    ],
)
def test_another_value_and_none_are_shown(fields: dict[str, str], shown: list[str]):
    assert unusual("ActivityTaskStarted", fields) == shown


def test_a_kind_without_usual_values_is_shown_whole():
    assert unusual("TimerFired", {"timer_id": "t"}) == ["timer_id=t"]
