"""The engine in the calling process, behind the same `Connection` as a server: no server, no network.

`place` says which file a target names, `engine` opens and shares engines and holds the connection to one, `calls` ends
calls early. Not here: what a call means (`server.frontend`), the lock and the checks of a file (`storage`).
"""

from __future__ import annotations

from perdure.embedded.engine import EmbeddedConnection, open_embedded
from perdure.embedded.place import place_of

__all__ = ["EmbeddedConnection", "open_embedded", "place_of"]
