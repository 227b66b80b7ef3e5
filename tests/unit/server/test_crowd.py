"""A batch waits for callers who come one by one, and for nobody else."""

from __future__ import annotations

from perdure.server.shards import committer
from perdure.server.shards.committer import Crowd


def waits(crowd: Crowd, batches: int, *, groups: int, joining: int) -> int:
    """How often a batch waited, when each has so many groups and waiting brings so many more."""
    count = 0
    for number in range(batches):
        came = 0
        if crowd.is_worth_waiting_for(number):
            count += 1
            came = joining
            crowd.came(came)
        crowd.was(groups + came)
    return count


def test_the_bounds_belong_to_what_is_worth_it() -> None:
    crowd = Crowd()
    crowd.was(3)
    crowd.came(2)
    assert (crowd._groups, crowd._gain) == (committer.CROWD_GROUPS, committer.CROWD_GAIN)
    assert crowd.is_worth_waiting_for(1)


def test_who_is_alone_never_waits() -> None:
    assert waits(Crowd(), 1_000, groups=1, joining=5) == 0


def test_callers_who_all_wait_for_the_batch_do_not_wait_longer() -> None:
    at_most = 1_000 // committer.CROWD_PROBE_BATCHES + 1
    assert 0 < waits(Crowd(), 1_000, groups=100, joining=0) <= at_most


def test_callers_from_afar_are_waited_for_while_they_come() -> None:
    crowd = Crowd()
    assert waits(crowd, 1_000, groups=2, joining=3) > 900
    assert waits(crowd, 1_000, groups=2, joining=0) < 50
    assert waits(crowd, 1_000, groups=2, joining=3) > 900
