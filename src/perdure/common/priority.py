"""Priority and fairness of tasks in a backlog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from perdure.wire.api import common as common_pb


@dataclass(frozen=True)
class Priority:
    """Which task goes first when a task queue has a backlog.

    Activities and children inherit each unset field from their workflow.

    Attributes:
        priority_key: 1 is the most urgent; the server's default maximum is 5, and the middle is the default.
        fairness_key: Tasks of different keys share the queue in proportion to their weights; at most 64 bytes.
        fairness_weight: Weight of the key, 1.0 unless set; servers clamp it to 0.001 … 1000.
    """

    priority_key: int | None = None
    fairness_key: str | None = None
    fairness_weight: float | None = None

    default: ClassVar[Priority]

    def __post_init__(self) -> None:
        key = cast("object", self.priority_key)
        if key is None:
            return
        if not isinstance(key, int):
            raise TypeError("priority_key must be an integer")
        if key < 1:
            raise ValueError("priority_key must be a positive integer")

    @staticmethod
    def from_proto(proto: common_pb.Priority) -> Priority:
        """The priority that `proto` states; zero values are unset."""
        return Priority(
            priority_key=proto.priority_key or None,
            fairness_key=proto.fairness_key or None,
            fairness_weight=proto.fairness_weight or None,
        )

    def to_proto(self) -> common_pb.Priority:
        """This priority as its message."""
        return common_pb.Priority(
            priority_key=self.priority_key or 0,
            fairness_key=self.fairness_key or "",
            fairness_weight=self.fairness_weight or 0.0,
        )


Priority.default = Priority()
