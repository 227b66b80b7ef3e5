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


def test_grpc_that_is_loaded_already_stays_and_its_stubs_still_come_on_request() -> None:
    said = run(
        "import sys, grpc\n"
        "import perdure.wire.api\n"
        "print(sys.modules['grpc'] is grpc, [name for name in sys.modules if name.endswith('_pb2_grpc')])\n"
        "from temporalio.api.workflowservice.v1 import WorkflowServiceStub\n"
        "print(WorkflowServiceStub.__name__)"
    )
    assert said == "True []\nWorkflowServiceStub"


def test_an_embedded_engine_and_a_worker_load_no_tools_for_other_occasions() -> None:
    rare = ("ctypes", "difflib", "email", "importlib.metadata", "zipfile")
    loaded = run(
        f"import sys, perdure.client, perdure.worker, perdure.embedded\n"
        f"print([name for name in {rare} if name in sys.modules])"
    )
    assert loaded == "[]"


def test_other_threads_import_grpc_whenever_they_like() -> None:
    """They did not find it while the API was loaded: it was taken out of reach for all."""
    said = run(
        "import sys, threading\n"
        "import grpc\n"
        "failures, go_on = [], True\n"
        "def look():\n"
        "    while go_on:\n"
        "        try:\n"
        "            import grpc\n"
        "        except ImportError as error:\n"
        "            failures.append(error)\n"
        "sys.setswitchinterval(1e-5)\n"
        "threads = [threading.Thread(target=look) for _ in range(2)]\n"
        "for thread in threads: thread.start()\n"
        "import perdure.workflow\n"
        "go_on = False\n"
        "for thread in threads: thread.join()\n"
        "print(len(failures))"
    )
    assert said == "0"
