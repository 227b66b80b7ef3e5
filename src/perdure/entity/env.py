"""The environment of a transition: time, new ids and limits, all passed as arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from perdure.core.limits import DEFAULT_LIMITS, Limits


class Env(msgspec.Struct, frozen=True):
    """The environment of one transition.

    Attributes:
        now_ns: max(wall clock, the shard's high-water); the draft also respects the run's last event time.
        new_id: A fresh UUID as text; seeded in simulations.
        limits: Limits of the run's namespace.
        namespace_id_of: The id of a namespace by its name; empty when there is none.
        namespace: Name of the namespace, for messages and replies (ids are used everywhere else).
        search_attributes: The custom search attributes of the namespace, with their types. None: not known, so what
            commands set is not checked.
        search_attributes_of: The same for another namespace, by its name.
    """

    now_ns: int
    new_id: Callable[[], str]
    limits: Limits = DEFAULT_LIMITS
    namespace: str = "default"
    namespace_id_of: Callable[[str], str] = lambda _: ""
    search_attributes: Mapping[str, int] | None = None
    search_attributes_of: Callable[[str], Mapping[str, int] | None] = lambda _: None
