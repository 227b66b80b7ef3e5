"""The two lists in processes of their own: what one got, the others must get, whatever their caches hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.determinism.libraries import LIBRARIES
from tests.determinism.sources import REFUSED, VALUES

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]


def process(number: int, module: str, *arguments: str) -> str:
    """The output of a process that differs from others in its environment, its folder and its hashes."""
    environment = {
        **os.environ,
        "PYTHONHASHSEED": str(number),
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "PERDURE_TEST_PROCESS": str(number),
    }
    finished = subprocess.run(
        [sys.executable, "-m", f"tests.determinism.{module}", *arguments],
        cwd=ROOT if number % 2 else ROOT / "tests",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def processes(table: str, *, used: bool) -> list[Mapping[str, list[Any]]]:
    """The answers of a process without caches, and of another one."""
    with ThreadPoolExecutor(2) as pool:
        started = [
            pool.submit(process, 1, "answers", table),
            pool.submit(process, 2, "answers", table, *(["--used"] if used else [])),
        ]
        return [json.loads(each.result()) for each in started]


@pytest.mark.slow
@pytest.mark.e2e
def test_libraries_work_alike_with_and_without_caches_and_in_another_process() -> None:
    assert len(LIBRARIES) >= 40
    cold, warm = processes("libraries", used=True)
    for name in LIBRARIES:
        first, second = cold[name]
        assert isinstance(first, list), f"{name} is refused: {first}"
        assert [first, second, *warm[name]] == [first] * 4, name


@pytest.mark.e2e
def test_sources_with_a_deterministic_answer_give_it_in_every_process() -> None:
    assert len(VALUES) >= 40
    cold, warm = processes("values", used=True)
    for name in VALUES:
        first, second = cold[name]
        assert isinstance(first, list), f"{name} is refused: {first}"
        assert [first, second, *warm[name]] == [first] * 4, name


@pytest.mark.e2e
def test_sources_without_one_are_refused_by_name_in_every_process() -> None:
    assert len(REFUSED) >= 40
    for answers in processes("refused", used=False):
        for name, (call, _) in REFUSED.items():
            for each in answers[name]:
                assert isinstance(each, str), f"{name} is let through: {each}"
                assert each.startswith(call), name
                assert " in workflow Calls (" in each, name
                assert "tests/determinism/" in each.replace(os.sep, "/"), name


@pytest.mark.slow
@pytest.mark.e2e
def test_a_run_that_uses_both_lists_replays_in_another_process(tmp_path: Path) -> None:
    history = tmp_path / "history.json"
    process(1, "replayed", "record", str(history))
    process(2, "replayed", "replay", str(history))
