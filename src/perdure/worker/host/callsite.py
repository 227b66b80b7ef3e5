"""Where in the user's code something happens: captured cheaply now, resolved to lines later.

Role: commands carry the innermost user frames as (code, instruction) pairs. Capturing one takes about a microsecond.
Reports resolve them to file, line and column only when they are read.

Not here: stacks of suspended tasks (`inspect`).
"""

from __future__ import annotations

import asyncio
import linecache
import os
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import perdure
from perdure.core.loop import DeterministicLoop
from perdure.replay.commands import CallSite, Frame

if TYPE_CHECKING:
    from types import CodeType

MAX_FRAMES = 4

_LIBRARY = str(Path(perdure.__file__).parent) + os.sep
_ASYNCIO = str(Path(asyncio.__file__).parent) + os.sep
_STDLIB = str(Path(linecache.__file__).parent) + os.sep
# User code starts above the frame that drains the loop.
_BOTTOM = DeterministicLoop.drain.__code__

# By file: code objects are equal when two files have the same function.
_is_user: dict[str, bool] = {}


def is_library_file(filename: str) -> bool:
    """Whether a file belongs to this library or to asyncio."""
    return filename.startswith((_LIBRARY, _ASYNCIO))


def is_internal_file(filename: str) -> bool:
    """Whether a file belongs to this library or to the interpreter."""
    if filename.startswith("<frozen "):
        return True
    return filename.startswith(_LIBRARY) or (
        filename.startswith(_STDLIB) and "site-packages" not in filename
    )


def _user_code(code: CodeType) -> bool:
    known = _is_user.get(code.co_filename)
    if known is None:
        known = _is_user[code.co_filename] = not is_internal_file(code.co_filename)
    return known


def capture(skip: int = 1) -> CallSite | None:
    """The innermost user frames of the calling code; None when no user code is on the stack.

    Args:
        skip: Frames to leave out, beginning with this function's caller's callee.
    """
    frame = sys._getframe(skip)  # documented, for this purpose  # noqa: SLF001
    found: list[Frame] = []
    while frame is not None and frame.f_code is not _BOTTOM:
        if _user_code(frame.f_code):
            found.append(Frame(frame.f_code, frame.f_lasti))
            if len(found) == MAX_FRAMES:
                break
        frame = frame.f_back
    return tuple(found) or None


class Location(NamedTuple):
    """A resolved frame. `column` is 1-based, or None if unknown."""

    filename: str
    line: int
    column: int | None
    function: str

    @property
    def text(self) -> str:
        """The source line without surrounding space; empty if the file does not exist."""
        return linecache.getline(self.filename, self.line).strip()

    def __str__(self) -> str:
        return f"{self.filename}:{self.line} in {self.function}"


def locate(code: CodeType, lasti: int) -> Location:
    """File, line and column of an instruction."""
    line, column = code.co_firstlineno, None
    if lasti >= 0:
        position = next(islice(code.co_positions(), lasti // 2, None), None)
        if position is not None and position[0] is not None:
            line = position[0]
            column = None if position[2] is None else position[2] + 1
    return Location(code.co_filename, line, column, code.co_qualname)


def innermost(site: CallSite | None) -> Location | None:
    """The user's own line of a call site."""
    return locate(site[0].code, site[0].lasti) if site else None
