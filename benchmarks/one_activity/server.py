"""Our server with a profiler: `python -m benchmarks.one_activity.server FILE [flags of start-dev]`.

SIGUSR1 starts the profile of the main thread; the next one stops it and writes its shares to FILE as JSON.
"""

from __future__ import annotations

import cProfile
import json
import signal
import sys
import time
from pathlib import Path

from benchmarks.one_activity.shares import shares_of
from perdure import cli


def main(output: Path, arguments: list[str]) -> None:
    running: list[cProfile.Profile] = []

    def toggle(_number: int, _frame: object) -> None:
        if not running:
            # The CPU time of this thread: waiting costs nothing.
            running.append(cProfile.Profile(time.thread_time))
            running[0].enable()
            return
        profile = running.pop()
        profile.disable()
        part = output.with_suffix(".part")
        part.write_text(json.dumps(shares_of(profile)))
        part.replace(output)

    signal.signal(signal.SIGUSR1, toggle)
    sys.argv = ["perdure", "server", "start-dev", *arguments]
    cli.main()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
