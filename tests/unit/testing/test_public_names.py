"""What `perdure.testing` offers. Each part is loaded when it is first used."""

from __future__ import annotations

from importlib import import_module

import pytest

from perdure import testing

PLACES = {
    "ActivityEnvironment": "activity",
    "Outcome": "simulation.outcome",
    "Signal": "simulation.scenario",
    "SimulationFailed": "simulator",
    "WorkflowEnvironment": "environment",
    "simulate": "simulator",
}


def test_each_name_is_found_at_its_place() -> None:
    assert sorted(testing.__all__) == sorted(PLACES)
    for name, place in PLACES.items():
        assert getattr(testing, name) is getattr(import_module(f"perdure.testing.{place}"), name)


@pytest.mark.parametrize("name", ["play", "Report", "Client", "no_such_name"])
def test_what_a_part_only_uses_is_not_offered(name: str) -> None:
    with pytest.raises(AttributeError, match=f"'perdure.testing' has no attribute '{name}'"):
        getattr(testing, name)
