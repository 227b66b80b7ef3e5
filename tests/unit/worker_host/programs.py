"""Programs that tests run in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def in_process(program: str) -> tuple[str, int]:
    """What a program printed, and its exit code."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    return done.stdout, done.returncode
