"""A source file in which bugs can be planted: text and places of the nodes of its syntax tree."""

from __future__ import annotations

import ast
from typing import Any


class Source:
    """One file: its bytes, its syntax tree, and the offset of each line."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.data = data
        self.tree = ast.parse(data)
        self._starts = [0]
        for line in data.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def offset(self, line: int, column: int) -> int:
        """The offset of a position in the file, as `ast` counts: lines from 1, columns in bytes."""
        return self._starts[line - 1] + column

    def span(self, node: Any) -> tuple[int, int]:
        """The offsets of the first byte of a node and of the first byte after it."""
        return (
            self.offset(node.lineno, node.col_offset),
            self.offset(node.end_lineno, node.end_col_offset),
        )

    def text(self, node: Any) -> str:
        """The source text of a node."""
        start, end = self.span(node)
        return self.data[start:end].decode()
