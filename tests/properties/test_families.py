"""Children, signals and cancel requests between workflows, and updates, under deaths at every commit.

`World` checks after each commit that a reload gives the same run; the family's promises are checked when all effects
have arrived. Seeded stories are long and always the same; Hypothesis tells short ones and shrinks.
"""

from __future__ import annotations

import random
from collections import Counter
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.wire.api import enums
from tests.properties.family import check_family
from tests.properties.story import VERBS, WORKFLOW_IDS, Story

STEPS = 120
SEEDS = range(40)
USUAL = ("start", *("work",) * 4, *("deliver",) * 4, "poll", "time", "update")
RARE = tuple(VERBS)


def _end(story: Story) -> None:
    story.universe.deliver_all()
    check_family(story.universe)


@cache
def walk(seed: int) -> Counter[str]:
    """The events of all runs of a story, and how often it died."""
    chance = random.Random(seed)
    story = Story()
    for number in range(STEPS):
        verb = chance.choice(RARE if chance.random() < 0.2 else USUAL)
        story.step(verb, chance.randrange(8), chance.randrange(9**4), chance.randrange(4**6))
        if number % 40 == 39:
            _end(story)
    _end(story)
    seen = Counter[str]()
    for world in story.universe.worlds.values():
        seen.update(enums.EventType.Name(event.event_type) for event in world.history.events)
    seen["deaths"] = story.universe.deaths
    return seen


@pytest.mark.parametrize("seed", SEEDS)
def test_a_long_story_keeps_all_promises(seed: int):
    assert walk(seed)["EVENT_TYPE_WORKFLOW_TASK_COMPLETED"] > 5


def test_the_stories_get_everywhere():
    seen = Counter[str]()
    for seed in SEEDS:
        seen += walk(seed)
    ends = ("COMPLETED", "FAILED", "CANCELED", "TIMED_OUT", "TERMINATED")
    expected = {
        *(f"CHILD_WORKFLOW_EXECUTION_{what}" for what in ("STARTED", *ends)),
        *(f"WORKFLOW_EXECUTION_{what}" for what in (*ends, "CONTINUED_AS_NEW")),
        "START_CHILD_WORKFLOW_EXECUTION_FAILED",
        "EXTERNAL_WORKFLOW_EXECUTION_SIGNALED",
        "EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED",
        "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED",
        "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED",
        "WORKFLOW_EXECUTION_UPDATE_ACCEPTED",
        "WORKFLOW_EXECUTION_UPDATE_COMPLETED",
    }
    assert {name for name in expected if not seen[f"EVENT_TYPE_{name}"]} == set()
    assert seen["deaths"] > 20


numbers = st.integers(0, 7)
steps = st.tuples(
    st.sampled_from([*USUAL, *RARE]), numbers, st.integers(0, 9**4), st.integers(0, 4**6)
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(steps, min_size=5, max_size=40))
def test_short_stories_keep_all_promises(told: list[tuple[str, int, int, int]]):
    story = Story()
    for step in told:
        story.step(*step)
    _end(story)


@pytest.mark.parametrize("what", ["signal", "cancel"])
def test_an_answer_that_is_recorded_is_not_asked_for_again(what: str):
    """The receiver's id was unknown, the process died, and then somebody else began to use that id."""
    story = Story()
    universe = story.universe
    kind = 7 * 9 + {"signal": 4, "cancel": 6}[what]  # and a timer
    story.step("start", 0, 0, 0)
    story.step("work", 0, kind, 2)
    (sent,) = universe.outbox
    assert sent.effect.destination.name != WORKFLOW_IDS[0]
    universe.deliver(0, dies_after=2)
    assert universe.outbox == [sent], "its row is still there"
    story.step("start", WORKFLOW_IDS.index(sent.effect.destination.name), 0, 0)
    before = len(universe.find(sent.effect.destination.name).history.events)
    universe.deliver_all()
    assert len(universe.find(sent.effect.destination.name).history.events) == before


@pytest.mark.parametrize("what", ["signal", "cancel"])
def test_an_answer_that_waits_in_the_buffer_is_not_recorded_twice(what: str):
    story = Story()
    universe = story.universe
    for which in range(4):
        story.step("start", which, 0, 0)
    story.step("work", 0, 7 * 9 + {"signal": 4, "cancel": 6}[what], 3)
    assert universe.find(WORKFLOW_IDS[0]).state.workflow_task_is_started
    universe.deliver(0, dies_after=9)
    universe.deliver(0)
    assert not universe.outbox
    (answer,) = universe.find(WORKFLOW_IDS[0]).state.buffered.values()
    assert answer.ends_event_id
    story.step("work", 0, 0, 0)
    check_family(universe)
