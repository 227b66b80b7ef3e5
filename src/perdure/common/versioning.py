"""Versions of worker deployments, and how a workflow moves between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum

from perdure.wire.api import deployment as deployment_pb
from perdure.wire.api import enums
from perdure.wire.api import workflow as workflow_pb


class VersioningBehavior(IntEnum):
    """When a workflow may move to a worker of another build."""

    UNSPECIFIED = 0
    PINNED = 1
    """Stays on its build unless somebody moves it."""
    AUTO_UPGRADE = 2
    """Goes to the task queue's current build with its next workflow task."""


@dataclass(frozen=True)
class WorkerDeploymentVersion:
    """One build of one worker deployment."""

    deployment_name: str
    build_id: str

    def to_canonical_string(self) -> str:
        """``deployment_name.build_id``."""
        return f"{self.deployment_name}.{self.build_id}"

    @staticmethod
    def from_canonical_string(canonical: str) -> WorkerDeploymentVersion:
        """Parse ``deployment_name.build_id``; the name holds no dot.

        Raises:
            ValueError: There is no dot.
        """
        deployment_name, dot, build_id = canonical.partition(".")
        if not dot:
            raise ValueError(
                f"Cannot parse version string: {canonical},"
                " must be in format <deployment_name>.<build_id>"
            )
        return WorkerDeploymentVersion(deployment_name, build_id)

    def to_proto(self) -> deployment_pb.WorkerDeploymentVersion:
        """This version as its message."""
        return deployment_pb.WorkerDeploymentVersion(
            deployment_name=self.deployment_name, build_id=self.build_id
        )


class VersioningOverride(ABC):
    """Replaces, for one workflow, what its worker's versioning behaviour says."""

    @abstractmethod
    def to_proto(self) -> workflow_pb.VersioningOverride:
        """This override as its message."""


@dataclass(frozen=True)
class PinnedVersioningOverride(VersioningOverride):
    """Pin the workflow to `version`."""

    version: WorkerDeploymentVersion

    def to_proto(self) -> workflow_pb.VersioningOverride:
        pinned = workflow_pb.VersioningOverride.PinnedOverride(
            version=self.version.to_proto(),
            behavior=workflow_pb.VersioningOverride.PINNED_OVERRIDE_BEHAVIOR_PINNED,
        )
        # The two deprecated fields are what servers before 1.28 read.
        return workflow_pb.VersioningOverride(
            behavior=enums.VersioningBehavior.VERSIONING_BEHAVIOR_PINNED,
            pinned_version=self.version.to_canonical_string(),
            pinned=pinned,
        )


@dataclass(frozen=True)
class AutoUpgradeVersioningOverride(VersioningOverride):
    """Let the workflow follow the current build."""

    def to_proto(self) -> workflow_pb.VersioningOverride:
        return workflow_pb.VersioningOverride(
            behavior=enums.VersioningBehavior.VERSIONING_BEHAVIOR_AUTO_UPGRADE, auto_upgrade=True
        )


@dataclass(frozen=True)
class OneTimeVersioningOverride(VersioningOverride):
    """Send workflow tasks to `target_version` until one completes there, then forget the override."""

    target_version: WorkerDeploymentVersion

    def to_proto(self) -> workflow_pb.VersioningOverride:
        one_time = workflow_pb.VersioningOverride.OneTimeOverride(
            target_deployment_version=self.target_version.to_proto()
        )
        return workflow_pb.VersioningOverride(one_time=one_time)
