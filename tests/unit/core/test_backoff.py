"""Pauses between attempts, and the units and limits that they are made of."""

from __future__ import annotations

import math

import msgspec
import pytest

from perdure.core import units
from perdure.core.backoff import exponential_ns
from perdure.core.clock import SystemClock
from perdure.core.limits import DEFAULT_LIMITS, bytes_if_longer

S = units.SECOND_NS
MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("initial", "coefficient", "maximum", "attempt", "expected"),
    [
        (S, 2.0, 0, 1, S),
        (S, 2.0, 0, 2, 2 * S),
        (S, 2.0, 0, 3, 4 * S),
        (S, 2.0, 100 * S, 7, 64 * S),
        (S, 2.0, 100 * S, 8, 100 * S),
        (S, 2.0, 64 * S, 7, 64 * S),
        (S, 2.0, 64 * S - 1, 7, 64 * S - 1),
        (S, 2.0, 64 * S + 1, 7, 64 * S),
        (S, 1.0, 0, 50, S),
        (3 * S, 1.5, 0, 3, 6_750_000_000),
        (5 * S, 2.0, S, 1, S),
        (S, 2.0, 0, 5_000, 2**62),
        (S, 2.0, 100 * S, 5_000, 100 * S),
        (0, 2.0, 100 * S, 4, 0),
    ],
)
def test_a_pause_grows_up_to_its_bound(
    initial: int, coefficient: float, maximum: int, attempt: int, expected: int
) -> None:
    assert exponential_ns(initial, coefficient, maximum, attempt) == expected


@pytest.mark.parametrize(
    ("initial", "coefficient", "maximum", "attempt", "expected"),
    [
        (S, math.nan, 9 * S, 2, 9 * S),
        (S, math.nan, 0, 2, 2**62),
        (S, math.inf, 9 * S, 2, 9 * S),
        (S, -math.inf, 9 * S, 2, 0),
        (S, -2.0, 9 * S, 2, 0),
        (0, math.inf, 9 * S, 2, 0),
        (-S, 2.0, 9 * S, 2, 0),
        (S, 0.0, 9 * S, 0, S),
        (S, 2.0, 2**80, 90, 2**62),
    ],
)
def test_a_pause_has_a_value_for_every_policy_that_may_be_stored(
    initial: int, coefficient: float, maximum: int, attempt: int, expected: int
) -> None:
    assert exponential_ns(initial, coefficient, maximum, attempt) == expected


def test_no_time_is_later_than_the_end_of_time() -> None:
    end_ns = units.END_OF_TIME_NS
    assert end_ns == 2**63 - 1
    assert units.later_ns(5, 7) == 12
    assert units.later_ns(end_ns - 1, 1) == units.later_ns(end_ns, end_ns) == end_ns


def test_the_units_of_time() -> None:
    assert (units.MS_NS, units.SECOND_NS, units.MINUTE_NS) == (10**6, 10**9, 60 * 10**9)
    assert (units.HOUR_NS, units.DAY_NS) == (3_600 * 10**9, 86_400 * 10**9)


def test_a_clock_that_waits_is_not_the_one_that_dates() -> None:
    clock = SystemClock()
    first, then = clock.monotonic_ns(), clock.monotonic_ns()
    assert first <= then
    assert clock.now_ns() > 1_600_000_000 * S, "since the epoch"


@pytest.mark.parametrize(
    ("text", "limit_bytes", "length_bytes"),
    [
        ("", 0, 0),
        ("x" * 8, 8, 0),
        ("x" * 9, 8, 9),
        ("é" * 4, 8, 0),
        ("é" * 5, 8, 10),
        ("\N{OLD ITALIC LETTER A}" * 2, 8, 0),
        ("\N{OLD ITALIC LETTER A}" * 3, 8, 12),
    ],
)
def test_a_text_is_too_long_by_its_bytes(text: str, limit_bytes: int, length_bytes: int) -> None:
    assert bytes_if_longer(text, limit_bytes) == length_bytes


def test_the_limits_are_those_of_the_reference_server_but_for_a_few() -> None:
    """semantics: a namespace's defaults; the buffer of events and the pending steps are ours, with their reasons."""
    assert msgspec.structs.asdict(DEFAULT_LIMITS) == {
        "blob_size_bytes_max": 2 * MIB,
        "memo_size_bytes_max": 2 * MIB,
        "history_size_bytes_max": 50 * MIB,
        "history_size_suggest_continue_bytes": 4 * MIB,
        "history_count_max": 51_200,
        "history_count_suggest_continue": 4_096,
        "id_length_max": 1_000,
        "buffered_events_max": 2_000,
        "buffered_events_bytes_max": 2 * MIB,
        "buffered_queries_max": 1,
        "pending_activities_max": 2_000,
        "pending_children_max": 2_000,
        "pending_signals_external_max": 2_000,
        "pending_cancels_external_max": 2_000,
        "signals_per_run_max": 10_000,
        "updates_in_flight_max": 10,
        "updates_per_run_max": 2_000,
        "activity_last_failure_bytes_max": 4 * 1024,
        "failure_head_bytes_max": MIB // 2,
        "duration_max_ns": 36_500 * units.DAY_NS,
        "workflow_task_timeout_default_ns": 10 * S,
        "workflow_task_timeout_max_ns": 120 * S,
        "run_interval_min_ns": S,
        "workflow_task_heartbeat_ns": 1_800 * S,
        "history_page_events_max": 256,
        "long_poll_ns": 20 * S,
        "retention_default_ns": 36_500 * units.DAY_NS,
        "sticky_schedule_to_start_default_ns": 5 * S,
        "workflow_task_retry_backoff_max_ns": 600 * S,
        "allows_cross_namespace_commands": False,
        "build_id_bytes_max": 255,
        "fairness_key_bytes_max": 64,
        "links_per_request_max": 10,
        "link_bytes_max": 4_000,
        "transaction_bytes_max": 4 * MIB,
        "registered_search_attributes_max": 1_000,
        "search_attributes_max": 100,
        "search_attribute_bytes_max": 2_048,
        "search_attributes_bytes_max": 40 * 1024,
    }
