"""The official worker rides through kill -9 of our server; nothing acknowledged is lost or done twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.conftest import PROGRAM, ServerProcess

pytestmark = [pytest.mark.conformance, pytest.mark.slow]


def test_a_killed_server_is_replaced_and_every_run_finishes_once(tmp_path: Path):
    database, log = tmp_path / "perdure.db", tmp_path / "log"
    effects = tmp_path / "effects"
    server = ServerProcess("--db-filename", str(database), log=log)
    try:
        server.wait_until_ready()
        with subprocess.Popen(
            [sys.executable, PROGRAM, server.address, "restarts", str(effects)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=PROGRAM.parent,
        ) as program:
            assert program.stdout is not None
            for _ in range(3):
                # The program says when runs are half way; the server dies then, without any notice.
                # (The wheel's core warns on the same stream that it retries.)
                assert "half way\n" in program.stdout, program.communicate()[1]
                server.process.send_signal(signal.SIGKILL)
                server.process.wait()
                server = server.again()
                server.wait_until_ready()
            output, errors = program.communicate(timeout=120)
        assert server.stop() == 0, log.read_text()
    finally:
        server.process.kill()
    lines = output.strip().splitlines()
    assert lines, errors
    seen = json.loads(lines[-1])
    assert seen["results"] == [[f"{round_}-{n}" for n in range(10)] for round_ in range(3)]
    done = effects.read_text().splitlines()
    assert sorted(set(done)) == sorted(f"{r}-{n}" for r in range(3) for n in range(10))
    assert len(done) == 30, "no activity attempt ran twice"
    assert "Traceback" not in log.read_text()
