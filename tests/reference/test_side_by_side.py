"""Our server answers as the reference does, except for the listed differences.

Where the pinned reference is installed, the scripts are played on it, and its answers must be the recorded ones.
Elsewhere our server is compared with the recorded answers. The test's name says which of the two was done.
"""

from __future__ import annotations

import pytest

from tests.reference.compare import compare
from tests.reference.differences import Ledger
from tests.reference.recordings import recorded, recorded_scripts
from tests.reference.servers import pinned_version, reference_program
from tests.reference.session import chosen, play_all

IS_LIVE = reference_program() is not None
MODE = f"{'live' if IS_LIVE else 'recorded'} reference {pinned_version()}"
HOW_TO_RECORD = "to record again: make reference-record"


def test_every_script_is_recorded():
    assert {script.name for script in chosen()} == recorded_scripts(), HOW_TO_RECORD


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("mode", [MODE])
async def test_side_by_side(mode: str, subtests: pytest.Subtests):
    ledger = Ledger()
    results = await play_all(chosen(), live=IS_LIVE)
    for name, result in results.items():
        unexpected = ledger.unexpected(name, result.differences)
        with subtests.test(name):
            assert result.stopped == ""
            assert unexpected == [], "\n".join(map(str, unexpected))
        if IS_LIVE:
            with subtests.test(f"{name}: the recording is current"):
                changed = compare(recorded(name), result.reference)
                assert changed == [], "\n".join([HOW_TO_RECORD, *map(str, changed)])
    assert ledger.stale == [], "these differences no longer occur: remove them from differences.txt"
