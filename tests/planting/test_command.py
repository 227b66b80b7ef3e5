"""The command without any bug: no test is run."""

from __future__ import annotations

import pytest

from tests.planting.command import main


def test_a_run_without_a_bug_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--area", "storage", "--file", "no such file"]) == 2
    assert "no bug to plant" in capsys.readouterr().err
