"""An option of an operation has one name from the keyword argument to the interceptor."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from perdure import activity, worker, workflow
from perdure.workflow import _options

CHAINS: list[tuple[Any, type[msgspec.Struct], Any]] = [
    (workflow.ActivityConfig, _options.ActivityOptions, worker.StartActivityInput),
    (workflow.LocalActivityConfig, _options.LocalActivityOptions, worker.StartLocalActivityInput),
    (workflow.ChildWorkflowConfig, _options.ChildOptions, worker.StartChildWorkflowInput),
    (_options.ContinueAsNewConfig, _options.ContinueOptions, worker.ContinueAsNewInput),
]


@pytest.mark.parametrize(
    ("config", "options", "given"), CHAINS, ids=lambda each: getattr(each, "__name__", "")
)
def test_each_option_passes_from_the_call_to_the_interceptor(
    config: Any, options: type[msgspec.Struct], given: Any
) -> None:
    keys = set(config.__annotations__)
    fields = set(options.__struct_fields__)
    assert keys == fields - {"result_type"}
    inputs = {field.name for field in dataclasses.fields(given)}
    assert keys <= inputs
    assert inputs - keys <= {
        *("activity", "workflow", "args", "headers", "arg_types", "ret_type"),
        "disable_eager_execution",
    }


def test_what_a_decorator_may_say_is_an_option_of_the_call() -> None:
    decorator = {field.name for field in dataclasses.fields(activity.ActivityOptions)}
    assert decorator < set(workflow.ActivityConfig.__annotations__)
