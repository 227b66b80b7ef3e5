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
        priority_key: 1 is the most urgent. By default the server allows up to 5 and uses the middle.
        fairness_key: Tasks with different keys share the queue in proportion to their weights. At most 64 bytes.
        fairness_weight: Weight of the key. Default: 1.0. The server clamps it to 0.001 … 1000.

    Example:
        ```python
        from perdure.common import Priority


        @workflow.defn
        class Order:
            @workflow.run
            async def run(self) -> int:
                return workflow.info().priority.priority_key or 0


        async with Worker(client, task_queue="orders", workflows=[Order]):
            urgent = await client.execute_workflow(
                Order.run, id="order-7", task_queue="orders", priority=Priority(priority_key=1)
            )
        assert urgent == 1
        ```
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
        """Read a priority from an API message. Zero values are unset.

        Args:
            proto: The message.
        """
        return Priority(
            priority_key=proto.priority_key or None,
            fairness_key=proto.fairness_key or None,
            fairness_weight=proto.fairness_weight or None,
        )

    def to_proto(self) -> common_pb.Priority:
        """The priority as an API message."""
        return common_pb.Priority(
            priority_key=self.priority_key or 0,
            fairness_key=self.fairness_key or "",
            fairness_weight=self.fairness_weight or 0.0,
        )


Priority.default = Priority()
