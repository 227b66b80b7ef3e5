"""What a `sqlite:` or `memory:` target names.

Two spellings are common, and both are accepted. `sqlite:` before a path is that path. `sqlite:///` is read as
SQLAlchemy reads it: three slashes before a relative path, four before an absolute one. Whatever could mean another file
than the one it would name is refused, so that no file is created in an unexpected place.

Not here: opening the file (`perdure.storage`), other schemes (`perdure.service.targets`).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_DRIVE = re.compile(r"[A-Za-z]:")
_URL = "sqlite:///"
_IS_WINDOWS = os.name == "nt"


def place_of(url: str) -> Path | str:
    """The place that a target names.

    Args:
        url: A `sqlite:` or `memory:` target.

    Returns:
        The absolute path of the file, or the name after `memory:`.

    Raises:
        ValueError: The target names no place, or not clearly.

    Example:
        ```python
        from pathlib import Path

        from perdure.embedded import place_of

        assert place_of("sqlite:///orders.db") == Path.cwd() / "orders.db"
        ```
    """
    scheme, _, rest = url.partition(":")
    if rest.endswith(":memory:"):
        raise ValueError(f"{url!r}: an engine in memory is 'memory:'")
    if "?" in rest:
        raise ValueError(f"{url!r}: there are no options after '?': give 'sqlite:<file>'")
    if scheme == "memory":
        return rest.removeprefix("//")
    if scheme != "sqlite" or not rest.strip("/"):
        raise ValueError(f"{url!r} names no database: give 'sqlite:<file>' or 'memory:'")
    return _file(url, rest)


def _file(url: str, rest: str) -> Path:
    if rest.startswith("////"):
        path = f"/{rest.lstrip('/')}"
    elif rest.startswith("///"):
        path = rest.removeprefix("///")
    elif rest.startswith("//"):
        raise ValueError(
            f"{url!r}: after two slashes comes a host, and a file has none: give 'sqlite:{rest[2:]}'"
        )
    else:
        path = rest
    _check_text(url, path)
    try:
        found = Path(path).expanduser().resolve()
        is_folder = found.is_dir()
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{url!r} names no file: {error}") from None
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise ValueError(f"{url!r} names no file: {error.strerror}") from None
    if path.endswith(("/", os.sep)) or is_folder:
        raise ValueError(f"{url!r} is a folder: give the path of a file in it")
    if f"///{path}" == rest and not found.parent.is_dir():
        raise ValueError(
            f"{url!r} is the relative path {path!r}, and there is no folder {found.parent}: an absolute path has four "
            f"slashes: '{_URL}/{path}'"
        )
    # Three slashes once meant an absolute path. An empty new database in place of the one that is meant would look as
    # if all workflows were gone.
    if f"///{path}" == rest and not found.exists() and Path(f"/{path}").exists():
        raise ValueError(
            f"{url!r} is the relative path {path!r}, which does not exist, but '/{path}' does: give "
            f"'{_URL}/{path}' for that file, or 'sqlite:{path}' for a new one below {Path.cwd()}"
        )
    return found


def _check_text(url: str, path: str) -> None:
    if path != path.strip() or not path.isprintable():
        raise ValueError(
            f"{url!r}: there is white space around the path, or a control character in it"
        )
    if _PERCENT.search(path):
        raise ValueError(
            f"{url!r}: write the characters of the path as they are; nothing is decoded after '%'"
        )
    if not _IS_WINDOWS and (_DRIVE.match(path) or "\\" in path):
        raise ValueError(
            f"{url!r} is a path of Windows: give one of this system, such as 'sqlite:orders.db'"
        )
