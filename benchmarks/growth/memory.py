"""The memory of a process, as the system counts it (Linux)."""

from __future__ import annotations

from pathlib import Path


def resident_bytes(process: int | str = "self") -> int:
    """Resident now; 0 where the system does not tell."""
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        return 0
    line = next(one for one in status.read_text().splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) * 1024
