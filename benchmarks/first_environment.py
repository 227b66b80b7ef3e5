"""A time-skipping environment from nothing: `python -m benchmarks.first_environment`; prints a line of JSON.

The process's own time is the bench's affair; here only what creating the environment costs once all is imported.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable

from perdure.testing import WorkflowEnvironment, time_skipping
from perdure.worker import Worker


def create() -> Awaitable[WorkflowEnvironment]:
    """`WorkflowEnvironment.start_time_skipping()` imports what it needs when it is called: that is done before."""
    assert Worker  # as a test has it
    assert time_skipping  # so that no import is measured
    return WorkflowEnvironment.start_time_skipping()


async def main() -> None:
    began_s, cpu_s = time.perf_counter(), time.process_time()
    async with await create():
        spent = {"wall_s": time.perf_counter() - began_s, "cpu_s": time.process_time() - cpu_s}
    print(json.dumps(spent))


if __name__ == "__main__":
    asyncio.run(main())
