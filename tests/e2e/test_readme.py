"""The README's programs, as they stand there: run, killed, run again, tested, shown by a server.

Only the ten seconds of sleep are made shorter. Not here: the examples' own READMEs (`test_examples.py`).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.stack import PATIENCE_SECONDS, ROOT, Stack

pytestmark = [pytest.mark.e2e]

SLEEP = "workflow.sleep(10)"


@pytest.fixture
def greet(tmp_path: Path) -> Path:
    """The folder with `greet.py`."""
    program = _block("import asyncio")
    assert SLEEP in program
    (tmp_path / "greet.py").write_text(program.replace(SLEEP, "workflow.sleep(2)"))
    return tmp_path


def test_the_program_is_killed_and_goes_on_and_a_server_shows_it(greet: Path):
    with subprocess.Popen(
        [sys.executable, "greet.py"], cwd=greet, env=_environment(), stdout=subprocess.PIPE
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"started\n"
        first.send_signal(signal.SIGKILL)
    assert _run(greet, "greet.py") == "started\nHello, World!\n"

    stack = Stack(greet)
    stack.database = greet / "greet.db"
    try:
        stack.start_server()
        timeline = stack.cli("workflow", "show", "--workflow-id", "greeting-1").stdout
    finally:
        stack.kill("server")
    assert timeline.count("✓ timer") == 1
    assert '→ "Hello, World!"' in timeline


def test_the_test_passes(greet: Path):
    program = (greet / "greet.py").read_text()
    last = "asyncio.run(main())\n"
    assert program.endswith(last)
    guarded = program.removesuffix(last) + f'if __name__ == "__main__":\n    {last}'
    (greet / "greet.py").write_text(guarded)
    (greet / "test_greet.py").write_text(_block("from greet import"))
    (greet / "pytest.ini").write_text("[pytest]\n")
    assert "1 passed" in _run(
        greet, *["-m", "pytest", "-o", "asyncio_mode=auto", "-q", "test_greet.py"]
    )
    assert not (greet / "greet.db").exists()


def _block(begin: str) -> str:
    """The README's Python block that begins so."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = [
        b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if b.startswith(begin)
    ]
    return block


def _run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUTF8": "1"}
