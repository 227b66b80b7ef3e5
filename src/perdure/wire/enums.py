"""The enums of the API, their values included: `enums.EVENT_TYPE_TIMER_FIRED`, `enums.EventType.Name(…)`.

A message may have values that this version does not know. `Name` raises for those; `name_of` does not. The generated
package exports only the enum types; their values are constants of its modules.
"""

# A list of names to pass on, which the generated stubs type one by one.
# ruff: noqa: F403
# pyright: reportWildcardImportFromLibrary=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from temporalio.api.enums.v1.activity_pb2 import *
from temporalio.api.enums.v1.batch_operation_pb2 import *
from temporalio.api.enums.v1.command_type_pb2 import *
from temporalio.api.enums.v1.common_pb2 import *
from temporalio.api.enums.v1.deployment_pb2 import *
from temporalio.api.enums.v1.event_type_pb2 import *
from temporalio.api.enums.v1.failed_cause_pb2 import *
from temporalio.api.enums.v1.namespace_pb2 import *
from temporalio.api.enums.v1.nexus_pb2 import *
from temporalio.api.enums.v1.query_pb2 import *
from temporalio.api.enums.v1.reset_pb2 import *
from temporalio.api.enums.v1.schedule_pb2 import *
from temporalio.api.enums.v1.task_queue_pb2 import *
from temporalio.api.enums.v1.time_skipping_pb2 import *
from temporalio.api.enums.v1.update_pb2 import *
from temporalio.api.enums.v1.workflow_pb2 import *


def name_of(name: Callable[[Any], str], value: int, prefix: str = "") -> str:
    """The name of a value without its prefix, or its number if this version does not know the value.

    Args:
        name: The `Name` method of the enum.
        value: The value.
        prefix: The prefix of all names of the enum.
    """
    try:
        return name(value).removeprefix(prefix)
    except ValueError:
        return str(int(value))
