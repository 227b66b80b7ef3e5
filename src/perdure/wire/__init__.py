"""The one door to the protobuf types of Temporal's public API.

Role: short names for the generated modules (`wire.api`), the seam between services (`wire.seam`), typed errors with
their gRPC codes and details (`wire.errors`), time and payload conversion (`wire.times`, `wire.payloads`), and builders
for history events (`wire.events`).

Invariants: no other package imports `temporalio`, and nothing here imports more of it than `temporalio.api`.
Not here: any decision about what an event or an error means for a run; that is `perdure.history`.
"""

from __future__ import annotations

from perdure.wire.lean_import import leave_unopened

leave_unopened()
