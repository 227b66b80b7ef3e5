"""A batch waits for callers who come one by one, and for nobody else."""

from __future__ import annotations

from perdure.server.shards import committer
from perdure.server.shards.committer import BatchingDelay


def waits(delay: BatchingDelay, batches: int, *, groups: int, joining: int) -> int:
    """How often a batch waited, when each has so many groups and waiting brings so many more."""
    count = 0
    for number in range(batches):
        came = 0
        if delay.is_worth_waiting_for(number):
            count += 1
            came = joining
            delay.record_joined(came)
        delay.record_batch(groups + came)
    return count


def test_the_bounds_belong_to_what_is_worth_it() -> None:
    delay = BatchingDelay()
    delay.record_batch(3)
    delay.record_joined(2)
    assert (delay._groups, delay._gain) == (committer.DELAY_GROUPS_MIN, committer.DELAY_GAIN_MIN)
    assert delay.is_worth_waiting_for(1)


def test_who_is_alone_never_waits() -> None:
    assert waits(BatchingDelay(), 1_000, groups=1, joining=5) == 0


def test_callers_who_all_wait_for_the_batch_do_not_wait_longer() -> None:
    at_most = 1_000 // committer.DELAY_PROBE_BATCHES + 1
    assert 0 < waits(BatchingDelay(), 1_000, groups=100, joining=0) <= at_most


def test_callers_from_afar_are_waited_for_while_they_come() -> None:
    delay = BatchingDelay()
    assert waits(delay, 1_000, groups=2, joining=3) > 900
    assert waits(delay, 1_000, groups=2, joining=0) < 50
    assert waits(delay, 1_000, groups=2, joining=3) > 900
