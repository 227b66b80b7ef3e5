r"""Text that is safe on a terminal: what would not be seen, or would steer the terminal, is spelled out. Pure.

Role: ids, types, identities, failures and payloads are written by others. An escape sequence in one of them could
change the title of a terminal, a line break could forge a row of a table, and a bidirectional mark could show a text in
another order than it has.

Invariants: the spelling is that of JSON (`\u001b`), so a JSON text means the same before and after; text that is
printable is returned as it is; the result can always be encoded as UTF-8.
"""

from __future__ import annotations

import unicodedata

# Controls, marks of direction and other characters without a shape, halves of surrogate pairs, line separators.
_SPELLED_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
# Words of Persian and many emoji are written with them.
_JOINERS = frozenset("\u200c\u200d")


def visible(text: str, *, keep_lines: bool = False) -> str:
    """The text with controls and invisible characters spelled out.

    Args:
        text: Anything.
        keep_lines: Line breaks and tabs stay, for a text of several lines. Not for a value inside a line.
    """
    if text.isprintable():
        return text
    allowed = _JOINERS | {"\n", "\t"} if keep_lines else _JOINERS
    return "".join(
        _spelled(letter)
        if letter not in allowed and unicodedata.category(letter) in _SPELLED_CATEGORIES
        else letter
        for letter in text
    )


def _spelled(letter: str) -> str:
    # Beyond the first plane JSON writes two escapes.
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
