"""The operation table names every kind of command and job once, and says of them what the machines do."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import get_args

import pytest

from perdure.replay import commands as cmd
from perdure.replay import events as ev
from perdure.replay import jobs
from perdure.replay.machines.base import Machine
from perdure.replay.operation_table import OPERATIONS
from perdure.replay.run import Run
from perdure.worker.host.jobs import _TABLE as HOST_TABLE
from tests.unit.replay.script import run

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))
RUN_JOBS = {
    jobs.InitializeWorkflow,
    jobs.NotifyHasPatch,
    jobs.UpdateRandomSeed,
    jobs.SignalWorkflow,
    jobs.DoUpdate,
    jobs.CancelWorkflow,
    jobs.QueryWorkflow,
}
"""Jobs that no command of workflow code asked for."""


def leaves(kind: type) -> set[type]:
    below = set[type]().union(*(leaves(each) for each in kind.__subclasses__()))
    return below or {kind}


def known(kind: type) -> set[type]:
    return {each for each in leaves(kind) if each.__module__.startswith("perdure.")}


def test_each_kind_of_command_has_one_row() -> None:
    rows = [row.command for row in OPERATIONS]
    assert len(rows) == len(set(rows))
    assert set(rows) == known(cmd.Command) - {cmd.QueryResult}, "query results are answers"


def test_a_command_leaves_if_an_event_records_it() -> None:
    leaving = [row for row in OPERATIONS if row.attributes is not None]
    assert {row.command for row in leaving} == {r.command for r in OPERATIONS if r.recorded_as}
    assert {row.recorded_as for row in leaving} == ev.COMMAND_EVENTS - {ev.UPDATE_REJECTED}


def test_no_two_commands_are_recorded_by_the_same_event() -> None:
    recorded = [row.recorded_as for row in OPERATIONS if row.recorded_as]
    assert len(recorded) == len(set(recorded))


def test_the_engine_issues_five_kinds_of_commands_itself() -> None:
    assert {row.command for row in OPERATIONS if row.take is None} == {
        cmd.CancelActivityTask,
        cmd.CancelNexusOperation,
        cmd.RecordMarker,
        cmd.SendAcceptance,
        cmd.SendOutcome,
    }


def test_each_job_belongs_to_the_run_or_to_an_operation() -> None:
    answers = {job for row in OPERATIONS for job in row.jobs}
    assert answers | RUN_JOBS == set(get_args(jobs.Job))
    assert not answers & RUN_JOBS


def test_the_host_handles_every_job_but_those_of_nexus_operations() -> None:
    nexus = {jobs.ResolveNexusOperationStart, jobs.ResolveNexusOperation}
    assert set(HOST_TABLE) == set(get_args(jobs.Job)) - nexus


def test_machines_push_the_jobs_of_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: defaultdict[type[Machine], set[type[jobs.Job]]] = defaultdict(set)
    push = Run.push_job

    def record(self: Run, job: jobs.Job) -> None:
        frame = sys._getframe(1)
        pusher = frame.f_locals.get("self")
        if isinstance(pusher, Machine):
            pushed[type(pusher)].add(type(job))
        push(self, job)

    monkeypatch.setattr(Run, "push_job", record)
    for path in SCRIPTS:
        run(path)
    in_table: defaultdict[type[Machine], set[type[jobs.Job]]] = defaultdict(set)
    for row in OPERATIONS:
        if row.jobs:
            in_table[row.machine] |= set(row.jobs)
    assert pushed == in_table
