"""A planted bug: one small edit of one source file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plant:
    """One bug, as an edit of a file's bytes.

    Attributes:
        path: The file, relative to the root of the repository.
        line: Where the edit begins (1-based).
        lines: The lines whose tests could notice it: the whole statement, or the body that is gone.
        function: The qualified name of the function around it; empty at module level.
        kind: The operator that made it.
        start: First byte that is replaced.
        end: First byte that is kept again.
        text: What stands there instead.
        before: The edited source line as it was, stripped.
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
        """Names the bug as long as its line and function stay as they are; not its line number."""
        return (self.path, self.function, self.kind, self.before, self.after)
