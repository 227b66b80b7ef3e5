"""Rows of the flags that many commands share: the connection and the input."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.e2e.stack import free_port
from tests.unit.cli.engine import CERTIFICATES, QUEUE, environment, perdure
from tests.unit.cli.table import Bench, new_id, row

# Of each command that connects: words that succeed, on a workflow that is open or on one that is closed.
WORDS: dict[str, list[str]] = {
    "workflow start": ["--type", "Echo", "-t", QUEUE],
    "workflow execute": ["--type", "Echo", "-t", QUEUE],
    "workflow result": ["-w", "CLOSED"],
    "workflow list": [],
    "workflow count": [],
    "workflow show": ["-w", "OPEN"],
    "workflow describe": ["-w", "OPEN"],
    "workflow query": ["-w", "OPEN", "--name", "state"],
    "workflow signal": ["-w", "OPEN", "--name", "note"],
    "workflow cancel": ["-w", "OPEN"],
    "workflow terminate": ["-w", "OPEN"],
    "operator namespace create": ["-n", "NEW"],
    "operator namespace update": ["--description", "d"],
    "operator namespace describe": [],
    "operator namespace list": [],
}
METHODS = {
    "workflow start": "StartWorkflowExecution",
    "workflow execute": "GetWorkflowExecutionHistory",
    "workflow result": "GetWorkflowExecutionHistory",
    "workflow list": "ListWorkflowExecutions",
    "workflow count": "CountWorkflowExecutions",
    "workflow show": "GetWorkflowExecutionHistory",
    "workflow describe": "DescribeWorkflowExecution",
    "workflow query": "QueryWorkflow",
    "workflow signal": "SignalWorkflowExecution",
    "workflow cancel": "RequestCancelWorkflowExecution",
    "workflow terminate": "TerminateWorkflowExecution",
    "operator namespace create": "RegisterNamespace",
    "operator namespace update": "UpdateNamespace",
    "operator namespace describe": "DescribeNamespace",
    "operator namespace list": "ListNamespaces",
}
TLS = {
    "--tls-cert-path": str(CERTIFICATES / "client.pem"),
    "--tls-key-path": str(CERTIFICATES / "client.key"),
    "--tls-ca-path": str(CERTIFICATES / "ca.pem"),
    "--tls-server-name": "perdure.test",
}
SOON = ("--client-connect-timeout", "150ms")


def words_of(bench: Bench, command: str) -> list[str]:
    """A whole command that succeeds when it is told where the server is."""
    made: dict[str, Callable[[], tuple[str, str]]] = {
        "OPEN": bench.opened,
        "CLOSED": bench.closed,
        "NEW": lambda: (new_id(), ""),
    }
    return [
        *command.split(),
        *(made[word]()[0] if word in made else word for word in WORDS[command]),
    ]


def flat(flags: dict[str, str]) -> list[str]:
    return [word for pair in flags.items() for word in pair]


def _address(bench: Bench, command: str) -> None:
    words = words_of(bench, command)
    nowhere = f"127.0.0.1:{free_port()}"
    lost = perdure(*words, "--address", nowhere, *SOON)
    assert lost.code == 3
    assert lost.err.startswith(
        f"perdure: no server answers at {nowhere}; start one with `perdure server"
    )
    assert len(lost.err.splitlines()) == 1
    assert bench.run(*words).code == 0
    for name in ("PERDURE_ADDRESS", "TEMPORAL_ADDRESS"):
        with environment(**{name: bench.engine.address}):
            assert perdure(*words_of(bench, command)).code == 0
            assert perdure(*words, "--address", nowhere, *SOON).code == 3, "the flag wins"
    with environment(PERDURE_ADDRESS=bench.engine.address, TEMPORAL_ADDRESS=nowhere):
        assert perdure(*words_of(bench, command)).code == 0
    for wrong in ("", "foo://x", "x.db", "sqlite:"):
        refused = perdure(*words, "--address", wrong)
        assert (refused.code, refused.out) == (2, ""), wrong
        assert len(refused.err.splitlines()) == 1
        assert "give " in refused.err


def _namespace(bench: Bench, command: str) -> None:
    words = words_of(bench, command)
    unknown = bench.run(*words, "--namespace", "nowhere")
    assert unknown.code == 4
    assert "nowhere" in unknown.err
    # There is no such workflow in the other namespace; what is started there is run by nobody.
    code = 4 if "-w" in words else 0
    if command == "workflow execute":
        words, code = [*words, "--command-timeout", "200ms"], 1
    for name in ("PERDURE_NAMESPACE", "TEMPORAL_NAMESPACE"):
        ours = words_of(bench, command)
        with environment(**{name: "other"}):
            bench.engine.recorder.requests.clear()
            assert bench.run(*words).code == code
            assert {
                one.message.namespace
                for one in bench.engine.requests()
                if one.method != "GetSystemInfo"
            } == {"other"}
            assert bench.run(*ours, "-n", "default").code == 0, "the flag wins"


def _timeouts(bench: Bench, command: str) -> None:
    words = words_of(bench, command)
    late = bench.run(*words, "--command-timeout", "1ns")
    assert (late.code, late.out) == (1, "")
    assert late.err == "perdure: timed out; --command-timeout allows more\n"
    assert bench.run(*words, "--client-connect-timeout", "1ns").code == 3
    assert bench.run(*words, "--command-timeout", "1h", "--client-connect-timeout", "1h").code == 0
    for flag in ("--command-timeout", "--client-connect-timeout"):
        assert bench.run(*words, flag, "1").code == 2


def _metadata(bench: Bench, command: str) -> None:
    words = words_of(bench, command)
    bench.engine.recorder.requests.clear()
    bench.done(
        *words, "--grpc-meta", "Color=re=d", "--grpc-meta", "size=", "--grpc-meta", "raw-bin=é"
    )
    sent = bench.engine.requests()
    assert METHODS[command] in {one.method for one in sent}
    for one in sent:
        headers = {name: one.headers.get(name) for name in ("color", "size", "raw-bin")}
        assert headers == {"color": "re=d", "size": "", "raw-bin": "é".encode()}, one.method
    for wrong, message in (
        ("x", "'x' is not KEY=VALUE"), ("=x", "is not KEY=VALUE"), ("a b=x", "lower-case ASCII letters"),
        ("a\n=x", "lower-case ASCII letters"),
        ("a=\n", "'a': the value must be printable ASCII"), ("a=é", "printable ASCII"),
    ):  # fmt: skip
        refused = bench.run(*words, "--grpc-meta", wrong)
        assert (refused.code, refused.out) == (2, "")
        assert message in refused.err


def _encrypted(bench: Bench, command: str) -> None:
    words = words_of(bench, command)
    encrypted = partial(perdure, *words, "--address", bench.engine.tls_address)
    for flag in TLS:
        missing = encrypted(
            *flat({name: value for name, value in TLS.items() if name != flag}), *SOON
        )
        if flag in {"--tls-cert-path", "--tls-key-path"}:
            assert missing.code == 2
            assert "--tls-cert-path and --tls-key-path go together" in missing.err
        else:
            assert missing.code == 3, flag
    assert encrypted("--tls", *SOON).code == 3
    bench.engine.recorder.requests.clear()
    done = encrypted(*flat(TLS), "--api-key", "secret")
    assert done.code == 0, done
    assert {one.headers["authorization"] for one in bench.engine.requests()} == {"Bearer secret"}
    # What is encrypted is not for a server that speaks plainly, and an API key never travels in plain text.
    for flags in (["--tls"], ["--api-key", "secret"], flat(TLS)):
        refused = bench.run(*words, *flags, *SOON)
        assert refused.code == 3, flags
        assert "secret" not in refused.err
    unreadable = bench.run(*words, "--tls-ca-path", "/no/such/file")
    assert unreadable.code == 2
    assert unreadable.err == "perdure: cannot read /no/such/file: No such file or directory\n"


def _for(check: Callable[[Bench, str], None], command: str, *flags: str) -> None:
    def bound(bench: Bench) -> None:
        check(bench, command)

    bound.__name__ = check.__name__
    row(command, *flags)(bound)


for _command in WORDS:
    _for(_address, _command, "--address")
    if not _command.startswith("operator namespace"):  # there it is what the command is about
        _for(_namespace, _command, "--namespace")
    _for(_timeouts, _command, "--command-timeout", "--client-connect-timeout")
    _for(_metadata, _command, "--grpc-meta")
    _for(
        _encrypted, _command, "--tls", "--tls-cert-path", "--tls-key-path", "--tls-ca-path", "--tls-server-name",
        "--api-key",
    )  # fmt: skip


# ── input ────────────────────────────────────────────────────────────────────────────────────────────

INPUTS = {
    "workflow start": ("StartWorkflowExecution", "input"),
    "workflow execute": ("StartWorkflowExecution", "input"),
    "workflow signal": ("SignalWorkflowExecution", "input"),
    "workflow query": ("QueryWorkflow", "query.query_args"),
}
Payload = tuple[dict[str, bytes], bytes]


def _sent(bench: Bench, command: str, *flags: str, stdin: str = "") -> list[Payload]:
    method, path = INPUTS[command]
    found = bench.sent(method, *words_of(bench, command), *flags, stdin=stdin)
    for name in path.split("."):
        found = getattr(found, name)
    return [(dict(one.metadata), one.data) for one in found.payloads]


def _refused(bench: Bench, command: str, *flags: str) -> str:
    ran = bench.run(*words_of(bench, command), *flags)
    assert (ran.code, ran.out) == (2, "")
    return ran.err


def _json(data: bytes) -> Payload:
    return {"encoding": b"json/plain"}, data


def _input(bench: Bench, command: str) -> None:
    sent = partial(_sent, bench, command)
    refused = partial(_refused, bench, command)
    assert sent() == []
    assert sent("-i", "1", "--input", ' {"é": 1e400}') == [
        _json(b"1"),
        _json(' {"é": 1e400}'.encode()),
    ]
    assert "input 2 is not JSON; a text needs its own quotes" in refused("-i", "1", "-i", "World")
    assert "not UTF-8" in refused("-i", '"\udcff"')
    with TemporaryDirectory() as folder:
        one, two = Path(folder, "one"), Path(folder, "two")
        one.write_text('"first é"\n', encoding="utf-8")
        two.write_bytes(b"\xff")
        expected = _json('"first é"\n'.encode())
        assert sent("-i", f"@{one}", "-i", "2") == [expected, _json(b"2")]
        assert sent("--input-file", str(one), "--input-file", str(one)) == [expected] * 2
        assert sent("--input-file", "-", stdin="[7]") == [_json(b"[7]")]
        assert sent("-i", "@-", stdin="[8]") == [_json(b"[8]")]
        assert f"--input-file: cannot read {two}: it is not UTF-8 text" in refused(
            "--input-file", str(two)
        )
        assert f"--input: cannot read {one}x: No such file" in refused("-i", f"@{one}x")
        assert "--input and --input-file cannot be combined" in refused(
            "-i", "1", "--input-file", str(one)
        )


def _input_kinds(bench: Bench, command: str) -> None:
    sent = partial(_sent, bench, command)
    refused = partial(_refused, bench, command)
    meta = [word for pair in ("a=x=y", "b=1", "b=2") for word in ("--input-meta", pair)]
    assert sent(*meta, "-i", "1", "-i", "2", "-i", "3") == [
        ({"encoding": b"json/plain", "a": b"x=y", "b": b"1"}, b"1"),
        ({"encoding": b"json/plain", "a": b"x=y", "b": b"2"}, b"2"),
        ({"encoding": b"json/plain", "a": b"x=y", "b": b"2"}, b"3"),
    ]
    assert sent("--input-meta", "encoding=binary/plain", "-i", "no JSON") == [
        ({"encoding": b"binary/plain"}, b"no JSON")
    ]
    assert sent("--input-base64", "-i", "WzFd") == [_json(b"[1]")]
    assert "input 1 is not JSON" in refused("--input-base64", "-i", "AP8=")
    for wrong in ("%%", "é", "WzF"):
        assert "an input is not base64" in refused("--input-base64", "-i", wrong)
    for wrong in ("x", "=x"):
        assert f"--input-meta {wrong!r} is not KEY=VALUE" in refused(
            "-i", "1", "--input-meta", wrong
        )


for _command in INPUTS:
    _for(_input, _command, "--input", "--input-file")
    _for(_input_kinds, _command, "--input-meta", "--input-base64")
