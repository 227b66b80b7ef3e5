"""The answer of the health service."""

from __future__ import annotations

import pytest

from perdure.wire import errors, health, seam


@pytest.mark.parametrize("service", ["", seam.WORKFLOW_SERVICE_NAME, seam.OPERATOR_SERVICE_NAME])
@pytest.mark.parametrize(
    ("is_serving", "status"), [(True, health.SERVING), (False, health.NOT_SERVING)]
)
def test_each_service_is_as_well_as_the_server(
    service: str, is_serving: bool, status: object
) -> None:
    request = health.HealthCheckRequest(service=service)
    assert health.check(request, is_serving=is_serving).status == status


@pytest.mark.parametrize("service", ["nobody.Knows", health.SERVICE_NAME])
def test_a_service_that_does_not_exist_is_not_found(service: str) -> None:
    with pytest.raises(errors.NotFound, match=f"unknown service '{service}'"):
        health.check(health.HealthCheckRequest(service=service), is_serving=True)
