"""The run of a transcript, which may be followed or replaced by another, and what its clients start."""

from __future__ import annotations

import msgspec

from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.core.units import DAY_NS
from perdure.entity.env import Env
from perdure.history.draft.transition import RunTransition
from perdure.history.run.start import Parent, start
from perdure.wire.api import workflowservice
from tests.harness.stored_run import StoredRun

NAMESPACE_ID = "ns"
LIMITS = msgspec.structs.replace(
    DEFAULT_LIMITS, retention_default_ns=DAY_NS, allows_cross_namespace_commands=True
)
"""Closed runs are deleted after a day, so that transcripts show when; commands may name the namespace `far`."""


class World(StoredRun):
    """A run and everything around it."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        super().__init__(limits)
        self.successor: RunTransition | None = None

    @property
    def env(self) -> Env:
        return msgspec.structs.replace(super().env, namespace_id_of={"far": "far-id"}.get)

    def start(
        self, request: workflowservice.StartWorkflowExecutionRequest, parent: Parent | None = None
    ) -> list[RunTransition]:
        existing = self.state_or_none
        return self.commit_all(
            start(self.current, existing, request, NAMESPACE_ID, self.env, parent)
        )

    def commit_all(self, transitions: tuple[RunTransition, ...]) -> list[RunTransition]:
        """Transitions of one batch; a run that begins with one takes the place of the one before."""
        for transition in transitions:
            if transition.state is not None and transition.state is not self.state_or_none:
                self.make_room()
            self.write(transition)
        self.check()
        return list(transitions)

    def follow_with(self, transition: RunTransition) -> None:
        self.successor = transition

    def follow(self) -> None:
        """From now on the run is the one that followed in the same commit."""
        transition, self.successor = self.successor, None
        assert transition is not None, "no run follows"
        self.make_room()
        self.commit(transition)

    def advance_to(self, now_ns: int) -> None:
        assert now_ns >= self.now_ns, "time goes on"
        self.now_ns = now_ns
