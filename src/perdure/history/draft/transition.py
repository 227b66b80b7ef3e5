"""What a change of a run has besides that of any entity: what its workflow id means from now on."""

from __future__ import annotations

from perdure.entity.transition import Transition
from perdure.history.state.pointer import CurrentRun


class RunTransition(Transition):
    """One atomic change of a run. `abandon()` of its draft undoes the change of the state in memory."""

    current: CurrentRun | None = None
    """What the pointer of the workflow id shall say from now on; it is written in the same transaction."""

    @property
    def is_empty(self) -> bool:
        """True when there is nothing to write: the reply still waits for the run's earlier commits."""
        return self.current is None and super().is_empty
