"""Each file in `data` is a conversation with the engine, readable as documentation of its rules.

`pytest tests/transcripts --update` writes down what the engine does now; the diff is for review.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.history.state.facts import FactKind
from tests.transcripts.script import run

DATA = sorted((Path(__file__).parent / "data").glob("*.txt"))


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.stem)
def test_the_engine_does_what_the_transcript_says(path: Path, request: pytest.FixtureRequest):
    outcome = run(path)
    if request.config.getoption("--update"):
        path.write_text(outcome.actual)
        return
    assert outcome.actual.splitlines() == outcome.written.splitlines()


def test_there_is_a_transcript_for_each_family():
    assert {
        *(
            "activity",
            "buffering",
            "cancel",
            "chain",
            "child",
            "external",
            "marker",
            "run",
            "signal",
        ),
        *("start", "timer", "update", "workflow"),
    } <= {path.stem.split("_")[0] for path in DATA}


def test_each_kind_of_fact_of_a_run_is_in_some_transcript():
    seen = frozenset[int]().union(*(run(path).fact_kinds for path in DATA))
    assert seen == set(FactKind)
