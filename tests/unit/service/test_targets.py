from __future__ import annotations

import pytest

from perdure.service import ConnectConfig, GrpcCompression, TLSConfig, connect, targets
from perdure.service.headers import base_headers, validate_metadata


@pytest.mark.parametrize(
    ("target", "opener"),
    [
        ("localhost:7233", targets.open_grpc),
        ("127.0.0.1:7233", targets.open_grpc),
        ("[::1]:7233", targets.open_grpc),
        ("unix:/run/perdure.sock", targets.open_grpc),
        ("unix-abstract:perdure", targets.open_grpc),
        ("dns:server", targets.open_grpc),
        ("ipv4:127.0.0.1", targets.open_grpc),
        ("ipv6:[::1]", targets.open_grpc),
        ("vsock:2:x", targets.open_grpc),
        ("memory:7233", targets.open_grpc),
        ("memory:", targets.open_in_process),
        ("sqlite:orders.db", targets.open_in_process),
        ("sqlite:///var/lib/orders.db", targets.open_in_process),
        ("postgresql://db/orders", targets.refuse_postgresql),
    ],
)
def test_what_targets_mean(target: str, opener: targets.Opener) -> None:
    assert targets.opener_for(target) is opener


@pytest.mark.parametrize("target", ["", "http://localhost:7233", "mysql://x"])
def test_targets_that_mean_nothing(target: str) -> None:
    with pytest.raises(ValueError, match="sqlite:"):
        targets.opener_for(target)


async def test_postgresql_says_what_to_use_instead() -> None:
    with pytest.raises(ValueError, match="not available in this version"):
        await connect("postgresql://db/orders")


def test_an_api_key_turns_tls_on() -> None:
    assert ConnectConfig("x").effective_tls() is None
    assert ConnectConfig("x", api_key="k").effective_tls() == TLSConfig()
    assert ConnectConfig("x", api_key="k", tls=False).effective_tls() is None
    assert ConnectConfig("x", tls=True).effective_tls() == TLSConfig()
    own = TLSConfig(domain="d")
    assert ConnectConfig("x", tls=own).effective_tls() is own
    assert ConnectConfig("x").grpc_compression is GrpcCompression.NONE
    assert "@" in ConnectConfig("x").identity


def test_headers() -> None:
    headers = base_headers({"a": "b", "c-bin": b"d"}, "key")
    assert headers["client-name"] == "perdure-python"
    assert headers["authorization"] == "Bearer key"
    assert headers["c-bin"] == b"d"
    assert base_headers({"authorization": "Basic x"}, "key")["authorization"] == "Basic x"


MALFORMED: list[dict[str, str | bytes]] = [
    {"Upper": "x"},
    {"": "x"},
    {"a b": "x"},
    {"a-bin": "x"},
    {"a": b"x"},
    {"ä": "x"},
    {"a\n": "x"},
    {"a:b": "x"},
    {"a\x00": "x"},
    {"a": "line\n"},
]


@pytest.mark.parametrize("metadata", MALFORMED)
@pytest.mark.parametrize("place", ["only", "first", "last"])
def test_malformed_metadata(metadata: dict[str, str | bytes], place: str) -> None:
    fine: dict[str, str | bytes] = {"fine": "x", "fine-bin": b"x"}
    given = {"only": metadata, "first": metadata | fine, "last": fine | metadata}[place]
    with pytest.raises(TypeError):
        validate_metadata(given)
    with pytest.raises(TypeError):
        base_headers(given, None)
