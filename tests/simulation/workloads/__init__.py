"""Workloads: workflows, activities, and a driver that starts, signals and cancels them and waits for their results."""

from __future__ import annotations

from collections.abc import Sequence

from tests.simulation.workloads.base import Workload
from tests.simulation.workloads.blunders import Blunders
from tests.simulation.workloads.cancellation import CancellationRaces
from tests.simulation.workloads.children import Households
from tests.simulation.workloads.diaries import Diaries
from tests.simulation.workloads.fan_out import FanOuts
from tests.simulation.workloads.greeting import Greetings
from tests.simulation.workloads.local import Clerks
from tests.simulation.workloads.namesakes import Namesakes
from tests.simulation.workloads.retries import Retries
from tests.simulation.workloads.signals import SignalStorm
from tests.simulation.workloads.updates import Accounts
from tests.simulation.workloads.witnesses import Witnesses

ALL: Sequence[type[Workload]] = (
    Greetings,
    FanOuts,
    SignalStorm,
    Retries,
    CancellationRaces,
    Blunders,
    Households,
    Accounts,
    Clerks,
    Namesakes,
    Diaries,
    Witnesses,
)
