"""What is given to an environment reaches its client and its engine, whichever of the two kinds it is."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure.client import Client, Interceptor, Plugin, RPCError
from perdure.common import QueryRejectCondition, SearchAttributeIndexedValueType, SearchAttributeKey
from perdure.converter import DataConverter
from perdure.service import RetryConfig
from perdure.testing import ActivityEnvironment, Outcome, WorkflowEnvironment
from perdure.testing.assertions import AssertionErrors
from perdure.testing.backend import seconds, utc
from perdure.testing.hosted import attribute_types
from tests.unit.testing.stage import Stage, staged

Start = Callable[..., Coroutine[Any, Any, WorkflowEnvironment]]
STARTS: dict[str, Start] = {
    "local": WorkflowEnvironment.start_local,
    "time skipping": WorkflowEnvironment.start_time_skipping,
}


class Named(Interceptor):
    """An interceptor that does nothing."""


class Renames(Plugin):
    """A plugin whose effect can be seen."""

    def configure_client(self, config: Any) -> Any:
        return {**config, "data_converter": dataclasses.replace(DataConverter.default)}

    async def connect_service_client(self, config: Any, next: Any) -> Any:
        return await next(config)


@pytest.fixture(params=STARTS)
async def start(request: pytest.FixtureRequest) -> AsyncIterator[Start]:
    started: list[WorkflowEnvironment] = []

    async def begin(**options: Any) -> WorkflowEnvironment:
        env = await STARTS[request.param](**options)
        started.append(env)
        return env

    yield begin
    for env in started:
        await env.shutdown()


async def test_options_reach_the_client(start: Start) -> None:
    first, second = Named(), Named()
    converter = dataclasses.replace(DataConverter.default)
    retries = RetryConfig(max_retries=3)
    env = await start(
        namespace="mine",
        data_converter=converter,
        interceptors=[first, second],
        default_workflow_query_reject_condition=QueryRejectCondition.NOT_OPEN,
        retry_config=retries,
        rpc_metadata={"key": "value"},
        identity="tester",
    )
    config = env.client.config()
    assert env.client.namespace == "mine"
    assert config["data_converter"] is converter
    assert list(config["interceptors"])[:2] == [first, second]
    assert any(isinstance(each, AssertionErrors) for each in config["interceptors"])
    condition = config["default_workflow_query_reject_condition"]
    assert condition is QueryRejectCondition.NOT_OPEN
    service = env.client.service_client.config
    assert (service.retry_config, service.identity) == (retries, "tester")
    assert service.rpc_metadata == {"key": "value"}


async def test_options_that_are_not_given(start: Start) -> None:
    env = await start()
    assert env.client.namespace == "default"
    assert env.client.config()["data_converter"] is DataConverter.default
    assert env.client.config()["default_workflow_query_reject_condition"] is None
    assert env.client.service_client.config.identity
    assert env.client.service_client.config.rpc_metadata == {}


async def test_plugins_are_used(start: Start) -> None:
    plugin = Renames()
    env = await start(plugins=[plugin])
    active = env.client.config(active_config=True)
    assert active["data_converter"] is not DataConverter.default
    assert list(env.client.config()["plugins"]) == [plugin]


async def test_the_default_namespace_exists_beside_the_given_one(start: Start) -> None:
    env = await start(namespace="mine")
    for namespace in ("default", "mine"):
        client = await env.connect_client(namespace=namespace)
        handle = await client.start_workflow("T", id="w", task_queue="q")
        assert (await handle.describe()).id == "w"
    with pytest.raises(RPCError, match="elsewhere"):
        client = await env.connect_client(namespace="elsewhere")
        await client.start_workflow("T", id="w", task_queue="q")


async def test_clients_end_with_the_environment(start: Start) -> None:
    env = await start()
    other = await env.connect_client()
    async with env as entered:
        assert entered is env
    for client in (env.client, other):
        with pytest.raises(RPCError, match="closed"):
            await client.start_workflow("T", id="w", task_queue="q")
    await env.shutdown()


def test_search_attributes_in_the_words_of_the_engine() -> None:
    keys = [
        SearchAttributeKey.for_keyword("A"),
        SearchAttributeKey.for_keyword_list("B"),
        SearchAttributeKey.for_int("C"),
        SearchAttributeKey.for_float("D"),
        SearchAttributeKey.for_bool("E"),
        SearchAttributeKey.for_datetime("F"),
        SearchAttributeKey.for_text("G"),
    ]
    assert len(keys) == len(SearchAttributeIndexedValueType)
    assert attribute_types(keys) == {
        "A": "Keyword",
        "B": "KeywordList",
        "C": "Int",
        "D": "Double",
        "E": "Bool",
        "F": "Datetime",
        "G": "Text",
    }
    assert attribute_types([]) == {}


def test_seconds_and_moments() -> None:
    assert seconds(timedelta(minutes=1, milliseconds=5)) == 60.005
    assert seconds(3) == 3.0
    assert isinstance(seconds(3), float)
    assert utc(0) == datetime(1970, 1, 1, tzinfo=UTC)
    assert utc(1_500_000_000_123_456_789) == datetime(2017, 7, 14, 2, 40, 0, 123_456, tzinfo=UTC)


@staged
async def test_an_environment_over_a_client_of_somebody_else(stage: Stage) -> None:
    from tests.unit.testing.hosted import environment

    own = Named()
    theirs = environment(stage, own).client
    env = WorkflowEnvironment.from_client(theirs)
    interceptors = list(env.client.config()["interceptors"])
    assert interceptors[0] is own
    assert isinstance(interceptors[-1], AssertionErrors)
    assert len(interceptors) == len(theirs.config()["interceptors"]) + 1
    assert not env.supports_time_skipping
    assert not env.supports_time_skipping_v1
    assert not env.supports_time_skipping_v2
    before_s = stage.real_s
    await env.sleep(timedelta(seconds=4))
    await env.sleep(1.5)
    assert stage.real_s - before_s == pytest.approx(5.5), "in real time"
    with env.auto_time_skipping_disabled():
        handle = await env.client.start_workflow("T", id="w", task_queue="q")
    await env.shutdown()
    await env.__aexit__(None, None, None)
    assert (await handle.describe()).id == "w", "it is not ours to close"
    waiting = asyncio.ensure_future(theirs.get_workflow_handle("w").result())
    await asyncio.sleep(0.01)
    assert stage.time.locks == 0
    waiting.cancel()


async def test_connecting_again_takes_over_what_the_client_has() -> None:
    async with (
        await WorkflowEnvironment.start_local(port=0, namespace="mine") as served,
        await Client.connect(
            served.client.service_client.config.target_host,
            namespace="mine",
            rpc_metadata={"key": "value"},
        ) as client,
    ):
        env = WorkflowEnvironment.from_client(client)
        async with (
            await env.connect_client() as again,
            await env.connect_client(namespace="default", rpc_metadata={}) as other,
        ):
            assert again.namespace == "mine"
            assert again.service_client.config.rpc_metadata == {"key": "value"}
            assert (
                again.service_client.config.target_host == client.service_client.config.target_host
            )
            assert other.namespace == "default"
            assert other.service_client.config.rpc_metadata == {}


def test_what_the_package_offers_is_loaded_when_it_is_used() -> None:
    import perdure.testing

    assert perdure.testing.ActivityEnvironment is ActivityEnvironment
    assert perdure.testing.Outcome is Outcome
    for name in perdure.testing.__all__:
        assert getattr(perdure.testing, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        perdure.testing.Nothing  # noqa: B018


OF_DOWNLOADS = {
    "local": {
        "download_dest_dir": "d", "runtime": None, "ui": False, "ui_port": 8233, "tls": False,
        "dev_server_existing_path": "temporal", "dev_server_log_format": "json", "dev_server_log_level": "warn",
        "dev_server_download_version": "v1", "dev_server_extra_args": ["--headless"],
        "dev_server_download_ttl": timedelta(days=1), "dev_server_startup_timeout": timedelta(seconds=5),
    },
    "time skipping": {
        "download_dest_dir": "d", "runtime": None, "port": None, "test_server_existing_path": "server",
        "test_server_download_version": "v1", "test_server_extra_args": ["--x"],
        "test_server_download_ttl": timedelta(days=1), "test_server_startup_timeout": timedelta(seconds=5),
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", STARTS)
async def test_options_of_a_downloaded_server_are_taken(kind: str) -> None:
    async with await STARTS[kind](**OF_DOWNLOADS[kind]) as env:
        assert await env.client.service_client.check_health()


@pytest.mark.parametrize(
    ("kind", "option", "hint"),
    [
        ("local", "dev_server_database_file", "did you mean 'dev_server_database_filename'?"),
        ("local", "serch_attributes", "did you mean 'search_attributes'?"),
        ("local", "test_server_extra_args", "did you mean 'dev_server_extra_args'?"),
        ("time skipping", "dev_server_extra_args", "did you mean 'test_server_extra_args'?"),
        ("time skipping", "namespaces", "did you mean 'namespace'?"),
        ("time skipping", "xyz", "'xyz'"),
    ],
)
async def test_an_option_that_does_not_exist_is_refused(kind: str, option: str, hint: str) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'") as refused:
        await STARTS[kind](**{option: 1})
    assert str(refused.value).endswith(hint)


async def test_options_that_promise_what_there_is_not_are_refused_or_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ValueError, match="serves without TLS"):
        await WorkflowEnvironment.start_local(tls=True)
    with pytest.raises(ValueError, match="start-test --port"):
        await WorkflowEnvironment.start_time_skipping(port=7233)
    async with await WorkflowEnvironment.start_local(ui=True):
        assert "ui=True has no effect" in caplog.text
