"""Which values may become an argument of which type: what is certain to fail is refused before it is sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from perdure.client.names import Target
from perdure.converter import DefaultPayloadConverter


@dataclass
class Order:
    number: int


class Own(DefaultPayloadConverter):
    """May convert anything to anything."""


VALUES: dict[str, Any] = {
    "str": "x",
    "bytes": b"x",
    "int": 1,
    "float": 1.5,
    "bool": True,
    "None": None,
    "date": date(2026, 1, 2),
    "list": [1],
    "Order": Order(7),
}
OBJECTS = ["None", "date", "list", "Order"]
"""Objects may serialize to anything."""


def takes(_value: Any) -> None:
    """The function that is called."""


@pytest.mark.parametrize(
    ("kind", "accepted"),
    [
        (str, ["str", *OBJECTS]),
        (bytes, ["bytes", *OBJECTS]),
        (int, ["int", "float", "bool", *OBJECTS]),
        (float, ["int", "float", "bool", *OBJECTS]),
        (bool, ["bool", *OBJECTS]),
        (Order, OBJECTS),
        (date, list(VALUES)),
        (Any, list(VALUES)),
    ],
)
def test_the_values_that_a_type_accepts(kind: Any, accepted: list[str]) -> None:
    target = Target("pay", [kind], None, takes)
    refused: dict[str, str] = {}
    for name, value in VALUES.items():
        try:
            target.check([value], "signal", DefaultPayloadConverter())
        except TypeError as error:
            refused[name] = str(error)
        target.check([value], "signal", Own())
        Target("pay", [kind]).check([value, value], "signal", DefaultPayloadConverter())
        Target("pay", None, None, takes).check([value], "signal", DefaultPayloadConverter())
    assert refused == {
        name: f"Argument 1 of signal pay is of type {name}, but {kind.__name__} is expected"
        for name in VALUES
        if name not in accepted
    }
