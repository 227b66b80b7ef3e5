"""A planted bug: one small edit of one source file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plant:
    """One bug, as an edit of a file's bytes.

    Attributes:
        path: The file, relative to the root of the repository.
        line: The line where the edit begins, from 1.
        lines: The lines whose tests could find the bug: the whole statement, or the dropped body.
        function: The qualified name of the function around it; empty at module level.
        kind: The operator that made the bug.
        start: The offset of the first byte that is replaced.
        end: The offset of the first byte after that.
        text: The replacement.
        before: The edited source line, stripped.
        after: The same line with the bug, stripped.
    """

    path: str
    line: int
    lines: tuple[int, ...]
    function: str
    kind: str
    start: int
    end: int
    text: str
    before: str
    after: str

    def apply(self, source: bytes) -> bytes:
        """The file with the bug in it."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """Identifies the bug as long as its function and source line do not change; the line number may."""
        return (self.path, self.function, self.kind, self.before, self.after)
