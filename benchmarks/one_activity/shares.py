"""A profile as shares of CPU time per package: own time, so that the shares add up.

Invariants: C functions count for the library that they belong to; what the event loop does in compiled code (uvloop,
the cores of gRPC) has no Python frame of its own and appears as the loop that runs it.
"""

from __future__ import annotations

import cProfile
import pstats
from collections import defaultdict
from typing import Any

# Part of a C function's name -> its library.
_COMPILED = (
    ("google._upb", "protobuf"),
    ("sqlite3", "sqlite3"),
    ("msgspec", "msgspec"),
    ("grpc", "grpc"),
    ("uvloop", "event loop (compiled)"),
    ("asyncio", "asyncio"),
    ("run_until_complete", "event loop (compiled)"),
    ("select.epoll", "event loop (compiled)"),
)
_LIBRARIES = (
    "google/protobuf",
    "asyncio",
    "grpc",
    "temporalio",
    "uvloop",
    "sqlite3",
    "logging",
    "json",
)


def shares_of(profile: cProfile.Profile, functions_max: int = 12) -> list[Any]:
    """`[[package, share in percent, [[function, percent], …]], …]`, the largest first.

    Args:
        profile: A stopped profile.
        functions_max: How many functions are named per package.
    """
    rows: dict[Any, Any] = vars(pstats.Stats(profile))["stats"]
    total = sum(row[2] for row in rows.values()) or 1.0
    packages: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for (path, line, name), (_, _, own_s, _, _) in rows.items():
        short = name if path == "~" else f"{path.rsplit('/', 1)[-1]}:{line} {name}"
        packages[_package(path, name)].append((100 * own_s / total, short))
    found: list[Any] = [
        [
            package,
            round(sum(share for share, _ in parts), 1),
            [
                [name, round(share, 1)]
                for share, name in sorted(parts, reverse=True)[:functions_max]
            ],
        ]
        for package, parts in packages.items()
    ]
    return sorted(found, key=lambda row: -row[1])


def _package(path: str, name: str) -> str:
    if path == "~":
        return next((library for part, library in _COMPILED if part in name), "builtins")
    if "/perdure/" in path:
        parts = path.rsplit("/perdure/", 1)[1].removesuffix(".py").split("/")
        return "perdure." + ".".join(parts[: 2 if parts[0] == "worker" and len(parts) > 2 else 1])
    if "/benchmarks/" in path:
        return "the bench itself"
    return next((one.replace("/", ".") for one in _LIBRARIES if f"/{one}" in path), "other Python")
