"""The names of values of enums, also of those that a later version of the API has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perdure.wire import enums


@pytest.mark.parametrize(
    ("name", "value", "prefix", "text"),
    [
        (enums.EventType.Name, enums.EVENT_TYPE_TIMER_FIRED, "EVENT_TYPE_", "TIMER_FIRED"),
        (enums.EventType.Name, enums.EVENT_TYPE_TIMER_FIRED, "", "EVENT_TYPE_TIMER_FIRED"),
        (enums.EventType.Name, enums.EVENT_TYPE_TIMER_FIRED, "OTHER_", "EVENT_TYPE_TIMER_FIRED"),
        (enums.EventType.Name, 9_999, "EVENT_TYPE_", "9999"),
        (enums.TimeoutType.Name, -1, "", "-1"),
    ],
)
def test_a_value_is_named_or_numbered(
    name: Callable[[Any], str], value: int, prefix: str, text: str
) -> None:
    assert enums.name_of(name, value, prefix) == text
