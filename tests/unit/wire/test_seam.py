"""The seam's method tables agree with the service descriptors of the public API."""

from __future__ import annotations

import importlib

import pytest

from perdure.wire import seam


@pytest.mark.parametrize(
    ("module", "service", "table"),
    [
        ("temporalio.api.workflowservice.v1.service_pb2", "WorkflowService", seam.WORKFLOW_SERVICE),
        ("temporalio.api.operatorservice.v1.service_pb2", "OperatorService", seam.OPERATOR_SERVICE),
        ("temporalio.api.testservice.v1.service_pb2", "TestService", seam.TEST_SERVICE),
    ],
)
def test_every_rpc_of_the_api_is_a_row(
    module: str, service: str, table: dict[str, seam.Method]
) -> None:
    descriptor = importlib.import_module(module).DESCRIPTOR.services_by_name[service]
    assert sorted(method.name for method in descriptor.methods) == sorted(table)
    for method in descriptor.methods:
        row = table[method.name]
        assert row.path == f"/{descriptor.full_name}/{method.name}"
        assert row.request_type.DESCRIPTOR is method.input_type
        assert row.response_type.DESCRIPTOR is method.output_type
