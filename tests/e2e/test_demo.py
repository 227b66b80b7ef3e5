"""`make demo`, as the promise it makes: exit code 0 only if everything was observed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.e2e.stack import ROOT


@pytest.mark.e2e
@pytest.mark.slow
def test_the_demonstration_observes_what_it_promises():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "demo.py")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout
    assert "killed with SIGKILL" in done.stdout
