"""What gRPC reflection is told."""

from __future__ import annotations

from google.protobuf import descriptor_pool

from perdure.wire import descriptors, seam


def test_the_services_of_the_server_are_in_the_pool_under_their_names() -> None:
    names = descriptors.load_service_descriptors()
    assert sorted(names) == [
        "grpc.health.v1.Health",
        seam.OPERATOR_SERVICE_NAME,
        seam.WORKFLOW_SERVICE_NAME,
    ]
    pool = descriptor_pool.Default()
    for name in names:
        assert pool.FindServiceByName(name).full_name == name


def test_the_reflection_service_and_its_messages() -> None:
    name, request, response = descriptors.reflection_messages()
    assert name == "grpc.reflection.v1alpha.ServerReflection"
    method = descriptor_pool.Default().FindServiceByName(name).methods[0]
    assert method.input_type is request.DESCRIPTOR
    assert method.output_type is response.DESCRIPTOR
