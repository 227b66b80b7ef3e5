"""Each file in `scripts` is a history and code that replays it, with all that the engine says on the way.

`pytest tests/unit/replay/test_scripts.py --update` writes down what the engine does now; the diff is for review.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.replay.script import run

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_engine_does_what_the_script_says(path: Path, request: pytest.FixtureRequest) -> None:
    written, actual = run(path)
    if request.config.getoption("--update"):
        path.write_text(actual)
        return
    assert actual.splitlines() == written.splitlines()
