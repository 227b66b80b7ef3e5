"""Encrypted connections: a real server with mutual TLS, and what each option of the client is for."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from perdure.service import ConnectConfig, TLSConfig, connect
from perdure.service.grpc_connection import GrpcConnection
from perdure.wire import errors
from perdure.wire.api import workflowservice as pb
from perdure.wire.seam import WORKFLOW_SERVICE
from tests.unit.service.test_grpc_connection import Frontend, Server, describe

CERTIFICATES = Path(__file__).parents[1] / "cli" / "certificates"
DESCRIBE = WORKFLOW_SERVICE["DescribeNamespace"]
AUTHORITY, SERVER, SERVER_KEY, CLIENT, CLIENT_KEY = (
    (CERTIFICATES / name).read_bytes()
    for name in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")
)
COMPLETE = TLSConfig(
    server_root_ca_cert=AUTHORITY,
    client_cert=CLIENT,
    client_private_key=CLIENT_KEY,
    domain="perdure.test",
)
REQUEST = pb.DescribeNamespaceRequest(namespace="shop")


async def serving(frontend: Frontend, *, wants_certificate: bool) -> tuple[grpc.aio.Server, str]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((frontend,))
    credentials = grpc.ssl_server_credentials(
        [(SERVER_KEY, SERVER)],
        root_certificates=AUTHORITY if wants_certificate else None,
        require_client_auth=wants_certificate,
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    return server, f"127.0.0.1:{port}"


@pytest.fixture(params=[True, False], ids=["mutual", "one-sided"])
async def target(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, bool]]:
    frontend = Frontend()
    frontend.handlers["DescribeNamespace"] = describe
    server, address = await serving(frontend, wants_certificate=request.param)
    yield address, request.param
    await server.stop(0)


async def name_of(target: str, tls: TLSConfig | bool | None, **options: Any) -> str:
    """What the server answers, or the name of the error."""
    connection = await connect(target, ConnectConfig("", tls=tls, **options))
    try:
        answer: Any = await connection.call(DESCRIBE, REQUEST)
    except errors.RpcError as error:
        return type(error).__name__
    finally:
        await connection.close()
    return answer.namespace_info.name


async def test_each_option_counts(target: tuple[str, bool]) -> None:
    address, is_mutual = target
    anonymous = dataclasses.replace(COMPLETE, client_cert=None, client_private_key=None)
    elsewhere = dataclasses.replace(COMPLETE, domain=None)
    renamed = dataclasses.replace(elsewhere, verification_server_name="perdure.test")
    assert await name_of(address, COMPLETE) == "shop"
    assert await name_of(address, renamed) == "shop"
    assert await name_of(address, anonymous) == ("Unavailable" if is_mutual else "shop")
    for refused in (
        dataclasses.replace(COMPLETE, server_root_ca_cert=None),
        dataclasses.replace(COMPLETE, domain="another.test"),
        elsewhere,
        TLSConfig(),
        True,
        False,
    ):
        assert await name_of(address, refused) == "Unavailable", refused


async def test_an_api_key_is_never_sent_in_plain_text(target: tuple[str, bool]) -> None:
    assert await name_of(target[0], COMPLETE, api_key="secret") == "shop"
    plain = Server()
    plain.frontend.handlers["DescribeNamespace"] = describe
    await plain.start()
    assert await name_of(plain.target, tls=None, api_key="secret") == "Unavailable"
    assert plain.frontend.metadata == []
    assert await name_of(plain.target, tls=False, api_key="secret") == "shop"
    await plain.stop()


@pytest.mark.parametrize("half", ["client_cert", "client_private_key"])
def test_half_of_a_client_certificate_is_refused(half: str) -> None:
    with pytest.raises(ValueError, match="go together: give both or neither"):
        GrpcConnection(ConnectConfig("x", tls=dataclasses.replace(COMPLETE, **{half: None})))
