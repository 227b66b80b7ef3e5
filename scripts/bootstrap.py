"""Builds `.venv` with the package (editable) and the development tools. `make setup` runs it.

It needs only the standard library, because a fresh clone has nothing else. The tools come from the `dev` group of
`pyproject.toml`, and their versions from `constraints.txt`. A group that `dev` includes is optional: if it cannot be
installed, set-up prints a note and continues. If the environment is newer than both files, nothing is done, so that
later runs of `make` need no network.

Usage: python3 scripts/bootstrap.py [--venv .venv] [--force]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MINIMUM = (3, 11)
STAMP = ".perdure-setup"
INPUTS = ("pyproject.toml", "constraints.txt", "scripts/bootstrap.py")


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the development environment.")
    parser.add_argument("--venv", default=".venv", help="the folder of the environment")
    parser.add_argument("--force", action="store_true", help="delete the environment first")
    arguments = parser.parse_args()
    if sys.version_info < MINIMUM:
        return fail(
            f"CPython {MINIMUM[0]}.{MINIMUM[1]} or newer is needed; this is {sys.version.split()[0]}. "
            "To use another one: make setup PYTHON=python3.12"
        )
    venv = ROOT / str(arguments.venv)
    if arguments.force and venv.exists():
        shutil.rmtree(venv)
    if is_fresh(venv):
        return 0
    return build(venv)


def is_fresh(venv: Path) -> bool:
    stamp = venv / STAMP
    if not stamp.exists():
        return False
    built_ns = stamp.stat().st_mtime_ns
    return all((ROOT / name).stat().st_mtime_ns <= built_ns for name in INPUTS)


def build(venv: Path) -> int:
    python = venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        print(
            f"setup: creating {venv.relative_to(ROOT)} with Python {sys.version.split()[0]}",
            flush=True,
        )
        created = subprocess.run([sys.executable, "-m", "venv", str(venv)], check=False)
        if created.returncode:
            return fail("the venv module failed; on Debian and Ubuntu: apt install python3-venv")
    requirements = dev_requirements()
    print(f"setup: installing perdure and {len(requirements)} development tools", flush=True)
    if not install(python, "--editable", str(ROOT), *requirements):
        return fail("pip could not install the packages; it needs a network or a local index")
    for group, optional in optional_requirements().items():
        if not install(python, "--only-binary=:all:", *optional):
            print(
                f"setup: continuing without the group {group}; its tests will use recorded results"
            )
    (venv / STAMP).write_text("Written by scripts/bootstrap.py. Delete it to run set-up again.\n")
    return 0


def install(python: Path, *requirements: str) -> bool:
    """Install packages with pip in the versions of `constraints.txt`, and return whether that succeeded."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--constraint", str(ROOT / "constraints.txt"), *requirements]
    return subprocess.run(command, check=False).returncode == 0


def dev_requirements() -> list[str]:
    """The tools in the `dev` dependency group, without those of included groups."""
    return [tool for tool in groups()["dev"] if isinstance(tool, str)]


def optional_requirements() -> dict[str, list[str]]:
    """The groups that `dev` includes: name → requirements."""
    found = groups()
    included = [item["include-group"] for item in found["dev"] if not isinstance(item, str)]
    return {name: list(found[name]) for name in included}


def groups() -> dict[str, list[Any]]:
    """All dependency groups. They are read here because pip supports groups only since 25.1."""
    import tomllib  # not at the top, so that Python 3.10 shows our message instead of an ImportError

    found: dict[str, list[Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())[
        "dependency-groups"
    ]
    return found


def fail(message: str) -> int:
    print(f"setup: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
