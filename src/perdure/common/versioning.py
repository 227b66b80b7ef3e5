"""Versions of worker deployments, and how a workflow moves between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum

from perdure.wire.api import deployment as deployment_pb
from perdure.wire.api import enums
from perdure.wire.api import workflow as workflow_pb


class VersioningBehavior(IntEnum):
    """When a workflow may move to a worker of another build.

    Attributes:
        UNSPECIFIED: The worker is not versioned.
        PINNED: The workflow stays on its build unless it is moved explicitly.
        AUTO_UPGRADE: The next workflow task runs on the task queue's current build.
    """

    UNSPECIFIED = 0
    PINNED = 1
    AUTO_UPGRADE = 2


@dataclass(frozen=True)
class WorkerDeploymentVersion:
    """One build of one worker deployment.

    Attributes:
        deployment_name: The deployment. Contains no dot.
        build_id: The build within the deployment.
    """

    deployment_name: str
    build_id: str

    def to_canonical_string(self) -> str:
        """The version as `deployment_name.build_id`."""
        return f"{self.deployment_name}.{self.build_id}"

    @staticmethod
    def from_canonical_string(canonical: str) -> WorkerDeploymentVersion:
        """Parse `deployment_name.build_id`.

        Args:
            canonical: The text. The name ends at its first dot.

        Raises:
            ValueError: The text contains no dot.
        """
        deployment_name, dot, build_id = canonical.partition(".")
        if not dot:
            raise ValueError(
                f"Cannot parse version string: {canonical},"
                " must be in format <deployment_name>.<build_id>"
            )
        return WorkerDeploymentVersion(deployment_name, build_id)

    def to_proto(self) -> deployment_pb.WorkerDeploymentVersion:
        """The version as an API message."""
        return deployment_pb.WorkerDeploymentVersion(
            deployment_name=self.deployment_name, build_id=self.build_id
        )


class VersioningOverride(ABC):
    """Replaces the versioning behaviour of the worker for one workflow."""

    @abstractmethod
    def to_proto(self) -> workflow_pb.VersioningOverride:
        """The override as an API message."""


@dataclass(frozen=True)
class PinnedVersioningOverride(VersioningOverride):
    """Pin the workflow to a version.

    Attributes:
        version: The version.
    """

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
    """Move the workflow to a version once: the override ends when a workflow task has completed there.

    Attributes:
        target_version: The version.
    """

    target_version: WorkerDeploymentVersion

    def to_proto(self) -> workflow_pb.VersioningOverride:
        one_time = workflow_pb.VersioningOverride.OneTimeOverride(
            target_deployment_version=self.target_version.to_proto()
        )
        return workflow_pb.VersioningOverride(one_time=one_time)
