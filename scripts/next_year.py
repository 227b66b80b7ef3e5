"""Runs a command, and every process that it starts, as if it were a year later and in another time zone.

`make test-next-year` runs the test suite this way. It finds tests that depend on the date, on the time of day or on
the time zone before they start to fail. Only the wall clock is ahead: monotonic clocks and file times are those of the
machine.

The clock comes from libfaketime, which the dynamic linker loads into each process. It has no effect on statically
linked programs, such as those written in Go. Therefore the tests beside the reference server use recorded answers
here. The development tools include the library for Linux on x86-64. On other systems, name its file in
PERDURE_FAKETIME_LIBRARY (Debian: /usr/lib/*/faketime/libfaketime.so.1).

Usage: .venv/bin/python scripts/next_year.py COMMAND [ARGUMENT …]
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

AHEAD_SECONDS = 31_557_600
"""365 days and 6 hours, so that the time of day differs too."""

ZONE = "LHST-10:30LHDT-11,M10.1.0,M4.1.0"
"""Lord Howe Island. Its offset is not a whole number of hours, and summer time moves it by half an hour. The zone is
given by its rule because a machine without a time zone database treats an unknown name as UTC."""

LIBRARY_VARIABLE = "PERDURE_FAKETIME_LIBRARY"
SEEN = "import time; print(time.time(), time.monotonic(), time.timezone)"
TOLERANCE_SECONDS = 600


def main() -> int:
    command = sys.argv[1:]
    if not command:
        print("usage: next_year.py COMMAND [ARGUMENT …]", file=sys.stderr)
        return 2
    library = find_library()
    if library is None:
        print(
            f"next_year: libfaketime is not installed; name its file in {LIBRARY_VARIABLE}",
            file=sys.stderr,
        )
        return 1
    environment = os.environ | {
        "LD_PRELOAD": " ".join(filter(None, (str(library), os.environ.get("LD_PRELOAD")))),
        "FAKETIME": f"+{AHEAD_SECONDS}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        # By default each process reads the variables again every ten seconds, which is not thread-safe.
        "FAKETIME_CACHE_DURATION": "1000000",
        "TZ": ZONE,
    }
    why = what_is_wrong(environment)
    if why:
        print(f"next_year: {why}", file=sys.stderr)
        return 1
    return subprocess.run(command, env=environment, check=False).returncode


def find_library() -> Path | None:
    named = os.environ.get(LIBRARY_VARIABLE)
    if named:
        return Path(named) if Path(named).is_file() else None
    package = find_spec("libfaketime")
    if package is None or package.origin is None:
        return None
    # The package is not imported, because that would change this process.
    library = Path(package.origin).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
    return library if library.is_file() else None


def what_is_wrong(environment: dict[str, str]) -> str | None:
    """Compare the clocks of a process with and without this environment; None when they are as they should be."""
    here, there = (
        [float(value) for value in seen.split()]
        for seen in (
            subprocess.check_output([sys.executable, "-c", SEEN], env=env, text=True)
            for env in (os.environ | {"TZ": "UTC0"}, environment)
        )
    )
    if abs(there[0] - here[0] - AHEAD_SECONDS) > TOLERANCE_SECONDS:
        return f"a process is {there[0] - here[0]:.0f} s ahead instead of {AHEAD_SECONDS}"
    if abs(there[1] - here[1]) > TOLERANCE_SECONDS:
        return "the monotonic clock is changed too"
    if there[2] != -10.5 * 3600:
        return f"the time zone {ZONE} has no effect"
    return None


if __name__ == "__main__":
    sys.exit(main())
