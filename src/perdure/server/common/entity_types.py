"""The built-in kinds of entities. A node may be opened with more; see `entity.entity_type`."""

from __future__ import annotations

from perdure.entity.entity_type import Registry
from perdure.history.entity_types import RUNS, WORKFLOW_IDS
from perdure.server.common.namespace_facts import NAMESPACES

BUILT_IN = Registry(RUNS, WORKFLOW_IDS, NAMESPACES)
