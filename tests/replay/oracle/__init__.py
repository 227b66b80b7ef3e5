"""The differential oracle: our engine against the compiled core of the official SDK.

``script`` is a random but deterministic workflow that both drive; ``generator`` lets it run on our
engine against a small model of a server, which yields a history; ``core_process`` replays that
history in the official core, in a process of its own; ``normal`` is the common form of activations.
"""

from __future__ import annotations
