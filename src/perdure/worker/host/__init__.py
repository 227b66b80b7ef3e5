"""The workflow host: runs workflow code of one run, deterministically.

Role: `WorkflowHost.activate` takes an activation of the replay engine (jobs in order), runs user code
until nothing is ready, and returns the commands that it issued. `close` tears the run down.

| File | Job |
|---|---|
| `host` | activations: job sets, draining, conditions, task failure or result |
| `jobs` | what each job does to the run |
| `handlers` | signals, queries, updates |
| `outcome` | how the workflow ends: failure policy and the closing commands |
| `state` | everything a run remembers between activations |
| `context`, `operations` | the runtime behind `perdure.workflow`'s functions |
| `upserts`, `metrics`, `info` | memo and search attributes, a replay-safe meter, `workflow.Info` |
| `converters` | payload and failure converters per context |
| `roots` | the ends of the interceptor chains |
| `registry`, `options` | workflow classes and options of a worker |
| `handles`, `children`, `external` | activities, children, other workflows |
| `loop`, `asyncio_compat` | the event loop, and deterministic versions of `asyncio` functions |
| `guard`, `randomness`, `extensions`, `scan` | nondeterministic calls: at run time, and in the source |
| `wrapping`, `origin` | how functions are wrapped, and which code is responsible for a call |
| `binding`, `compiled` | references to functions that were bound before the functions were replaced |
| `callsite`, `inspect`, `watchdog` | the user's source lines, stacks, code that does not yield |
| `waiting`, `teardown` | waiting for operations; ending a run that leaves memory |

Invariants: user code runs inline on the calling thread, from a plain call, and never inside a step of another loop's
task where the interpreter forbids that. The number of ticks between a job and the user's code determines the order of
recorded commands, so it never changes.
Not here: matching commands with history (`perdure.replay`), RPCs, caches and codecs (`perdure.worker`).
"""

from __future__ import annotations

from perdure.worker.host.host import WorkflowHost
from perdure.worker.host.options import HostOptions
from perdure.worker.host.registry import WorkflowRegistry

__all__ = ["HostOptions", "WorkflowHost", "WorkflowRegistry"]
