"""Every number that can grow, with Temporal's default. A `Limits` value travels in the engine's `Env`."""

from __future__ import annotations

import msgspec

from perdure.core.units import DAY_NS, MINUTE_NS, SECOND_NS

GRPC_MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""gRPC's own limit, which every client and server of the API has unless told otherwise."""

COMPLETION_BYTES_MAX = 32 * 1024 * 1024
"""The answer to a workflow task: its commands may be many, and each has a limit of its own."""

EAGER_ACTIVITIES_BYTES_MAX = 3 * 1024 * 1024 // 2
"""Of the activities that start in the answer to one workflow task. Together with a page of the next task's history,
which has two megabytes, they stay below the limit of a message. Activities beyond it are dispatched to pollers."""

DURATION_MAX_NS = 100 * 365 * DAY_NS
"""Longer timers, delays and time-outs are capped, so that points in time stay far from the end of time."""

RETENTION_FOREVER_NS = 100 * 365 * DAY_NS
"""Closed runs are kept. A namespace describes itself with this duration, the longest that the reference server stores:
every tool can show it, while 0 means "not set" to some of them."""

DAMAGE_RETRY_NS = 5 * MINUTE_NS
"""How often work that damage prevents is tried again. A database may be repaired while it is open."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one namespace, and what is allowed in it. Sizes in bytes, durations in nanoseconds."""

    blob_size_bytes_max: int = 2 * 1024 * 1024
    transaction_bytes_max: int = 4 * 1024 * 1024
    """What one command may add to the history, with headers and all. The reference server counts all the commands of a
    workflow task together; here a completion may be larger than one message (`COMPLETION_BYTES_MAX`)."""
    memo_size_bytes_max: int = 2 * 1024 * 1024
    search_attributes_max: int = 100
    """That one request or command may set."""
    search_attribute_bytes_max: int = 2 * 1024
    """Of one value."""
    search_attributes_bytes_max: int = 40 * 1024
    """Of all that one request or command sets, with their names."""
    registered_search_attributes_max: int = 1_000
    history_size_bytes_max: int = 50 * 1024 * 1024
    history_size_suggest_continue_bytes: int = 4 * 1024 * 1024
    history_count_max: int = 51_200
    history_count_suggest_continue: int = 4 * 1024
    id_length_max: int = 1_000
    """In bytes of UTF-8, as the reference server counts. Ids, names, types and the identities of workers."""
    build_id_bytes_max: int = 255
    fairness_key_bytes_max: int = 64
    links_per_request_max: int = 10
    link_bytes_max: int = 4_000
    buffered_events_max: int = 2_000
    """The reference server's is 100. That many activities may be pending, and all may end while one workflow task runs:
    if it failed for that repeatedly, its worker would replay a long history each time, slower and slower."""
    buffered_events_bytes_max: int = 2 * 1024 * 1024
    buffered_queries_max: int = 1
    pending_activities_max: int = 2_000
    pending_children_max: int = 2_000
    pending_signals_external_max: int = 2_000
    pending_cancels_external_max: int = 2_000
    signals_per_run_max: int = 10_000
    updates_in_flight_max: int = 10
    updates_per_run_max: int = 2_000
    activity_last_failure_bytes_max: int = 4 * 1024
    """Of a failure kept between attempts, which history never sees."""
    failure_head_bytes_max: int = 512 * 1024
    """The limit for the head that is kept of a failure that is larger than a blob."""
    duration_max_ns: int = DURATION_MAX_NS
    workflow_task_timeout_default_ns: int = 10 * SECOND_NS
    workflow_task_timeout_max_ns: int = 120 * SECOND_NS
    run_interval_min_ns: int = SECOND_NS
    """A run that follows another sooner after that one's start waits for the rest (S-36)."""
    workflow_task_heartbeat_ns: int = 30 * MINUTE_NS
    history_page_events_max: int = 256
    long_poll_ns: int = 20 * SECOND_NS
    retention_default_ns: int = RETENTION_FOREVER_NS
    sticky_schedule_to_start_default_ns: int = 5 * SECOND_NS
    workflow_task_retry_backoff_max_ns: int = 10 * MINUTE_NS
    allows_cross_namespace_commands: bool = False
    """Whether workflows may signal, cancel and start workflows of other namespaces."""


DEFAULT_LIMITS = Limits()


def bytes_if_longer(text: str, limit_bytes: int) -> int:
    """The length of a text in bytes of UTF-8 if it is over the limit, or else 0. Short texts are not encoded."""
    characters = len(text)
    if characters * 4 <= limit_bytes:
        return 0
    length_bytes = characters if text.isascii() else len(text.encode())
    return length_bytes if length_bytes > limit_bytes else 0
