"""What importing us loads, each time in a new process: imports happen once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def run(program: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_workflows_load_neither_the_official_sdk_nor_grpc() -> None:
    loaded = run(
        "import sys, perdure.workflow, perdure.embedded\n"
        "print([name for name in ('grpc', 'temporalio.service', 'temporalio.bridge') if name in sys.modules])"
    )
    assert loaded == "[]"


@pytest.mark.parametrize("first", ["perdure.workflow", "temporalio.workflow"])
def test_the_official_sdk_works_in_the_same_process(first: str) -> None:
    shared = run(
        f"import {first}\n"
        "import perdure.wire.api as ours\n"
        "import temporalio, temporalio.client, temporalio.worker, temporalio.api.common.v1 as theirs\n"
        "print(ours.common.Payload is theirs.Payload, temporalio.__version__[0], hasattr(temporalio, 'no_such'))"
    )
    assert shared == "True 1 False"


def test_stubs_are_there_for_who_asks() -> None:
    name = run(
        "import perdure.wire.api\n"
        "from temporalio.api.workflowservice.v1 import WorkflowServiceStub\n"
        "import grpc\n"
        "print(WorkflowServiceStub.__name__)"
    )
    assert name == "WorkflowServiceStub"
