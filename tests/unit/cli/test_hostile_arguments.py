"""Arguments that no command can use end in a message, never in a traceback: in every command and flag."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from perdure.cli import app, output
from perdure.cli.exits import CommandError
from perdure.client import Client
from perdure.rendering import durations, payloads
from perdure.wire.api import common
from tests.unit.cli.engine import environment, perdure
from tests.unit.cli.table import tree

NO_UTF8 = "a=\udcff"
DEEP = "[" * 50_000
DIGITS = "9" * 5000
JSON_FLAGS = {"--input", "--memo", "--search-attribute", "--dynamic-config-value"}
FILES = {"--input", "--input-file"}
"""May be names of files, which are any bytes."""


def flags() -> Iterator[tuple[str, str, click.Parameter]]:
    for words, command in tree():
        for param in command.params:
            yield words, max(param.opts, key=len), param


def needed(words: str, flag: str) -> list[str]:
    """Values of what the command requires, other than the flag."""
    command = dict(tree())[words]
    found: list[str] = []
    for param in command.params:
        name = max(param.opts, key=len)
        if param.required and name != flag:
            value = "5" if isinstance(param.type, click.IntRange) else "x:y"
            found += [name, value] if isinstance(param, click.Option) else [value]
    return found


def refused(words: str, flag: str, param: click.Parameter, value: str) -> str:
    given = [f"{flag}={value}"] if isinstance(param, click.Option) else [value]
    ran = perdure(*words.split(), *needed(words, flag), *given)
    assert (ran.code, ran.out) == (2, ""), (words, flag, ran)
    assert "Traceback" not in ran.err
    assert len(ran.err.splitlines()) <= 4, ran.err
    assert len(ran.err) < 1200, "a long argument is not echoed"
    return ran.err


def kinds(*wanted: type) -> list[tuple[str, str, click.Parameter]]:
    return [one for one in flags() if isinstance(one[2].type, wanted)]


def test_every_text_is_utf8() -> None:
    texts = kinds(click.types.StringParamType)
    assert len(texts) > 80
    for words, flag, param in texts:
        assert "it is not UTF-8 text" in refused(words, flag, param, NO_UTF8)


def test_a_text_of_the_environment_is_utf8() -> None:
    with environment(PERDURE_NAMESPACE=NO_UTF8):
        ran = perdure("workflow", "list")
    assert (ran.code, ran.out) == (2, "")
    assert "it is not UTF-8 text" in ran.err


def test_nothing_holds_a_nul() -> None:
    for words, flag, param in flags():
        if not (isinstance(param, click.Option) and param.is_flag):
            refused(words, flag, param, "a=\0")


def test_numbers_choices_and_durations() -> None:
    for words, flag, param in flags():
        if isinstance(param.type, click.Choice | click.types.IntParamType) or param.type.name in {
            "duration",
            "retention",
        }:
            if isinstance(param, click.Option) and param.is_flag:
                continue
            for value in ("\udcff", "x" * 100_000, DIGITS, f"{DIGITS}h", "99999999999h", "NaN", ""):
                refused(words, flag, param, value)


def test_json_that_is_too_deep_or_has_too_many_digits() -> None:
    found = [one for one in flags() if one[1] in JSON_FLAGS]
    assert {flag for _, flag, _ in found} == JSON_FLAGS
    for words, flag, param in found:
        if (words, flag) == ("server start-dev", "--search-attribute"):
            continue  # a type, no JSON
        key = "" if flag == "--input" else "a="
        assert "nested too deeply" in refused(words, flag, param, key + DEEP)
        assert "not JSON" in refused(words, flag, param, key + DIGITS)


def test_files_whose_names_are_too_long_or_no_text() -> None:
    for words, flag, param in flags():
        if flag in FILES:
            prefix = "@" if flag == "--input" else ""
            assert "File name too long" in refused(words, flag, param, prefix + "x" * 5000)
            assert "No such file" in refused(words, flag, param, prefix + "/x\udcff")
    for words in ("db check", "db prune --query x", "db backup"):
        more = ["y"] if words == "db backup" else []
        ran = perdure(*words.split(), "x" * 5000, *more)
        assert (ran.code, ran.out) == (1, "")
        assert "File name too long" in ran.err
        assert len(ran.err) < 1200
    ran = perdure("workflow", "list", "--address", "sqlite:" + "x" * 5000)
    assert (ran.code, ran.out) == (2, "")
    assert "File name too long" in ran.err


def test_a_database_whose_name_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    assert perdure("workflow", "list", "--address", f"sqlite:{path}").code == 0
    odd = tmp_path / "\udcff.db"
    path.rename(odd)
    assert perdure("db", "check", str(odd)).code == 0
    assert perdure("db", "backup", str(odd), str(tmp_path / "copy\udcff.db")).code == 0


def test_modules_that_have_no_absolute_name() -> None:
    for target in ("..:x", ".:x", ".a:x"):
        ran = perdure("worker", "run", target)
        assert (ran.code, len(ran.err.splitlines())) == (2, 1)
        assert "is not MODULE:ATTRIBUTE" in ran.err


def test_an_api_key_that_no_header_can_hold() -> None:
    ran = perdure("workflow", "list", "--api-key", "sécret")
    assert (ran.code, ran.err) == (2, "perdure: The API key must be printable ASCII\n")


async def test_a_namespace_that_no_header_can_hold(engine: object) -> None:
    client = await Client.connect(getattr(engine, "address"), namespace="naïve")  # noqa: B009
    async with client:
        with pytest.raises(Exception, match=r"Namespace na.*ve is not found|not found"):
            await client.count_workflows()


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────


def test_values_that_are_nested_deeply_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    damaged = common.Payload(metadata={"encoding": b"json/plain"}, data=DEEP.encode())
    assert payloads.text(damaged) == "<json/plain, damaged, 50000 bytes>"
    shown = payloads.value(damaged)
    assert isinstance(shown, dict)
    assert shown["encoding"] == "json/plain (damaged)"
    levels = 0
    value: object = []
    while levels < 600:
        value, levels = [value], levels + 1
    output.document(value, "json")
    assert json.loads(capsys.readouterr().out) == value
    while levels < 100_000:
        value, levels = [value], levels + 1
    with pytest.raises(CommandError, match="nested too deeply"):
        output.document(value, "json")


def test_a_duration_of_too_many_characters() -> None:
    with pytest.raises(ValueError, match="at most 1000 characters"):
        durations.parse("9" * 1000 + "h")
    assert durations.parse("1" * 999 + "s") > 0


def test_a_long_message_keeps_its_ends() -> None:
    assert app._shortened("x" * 1000) == "x" * 1000
    assert (
        app._shortened("a" + "x" * 5000 + "b") == f"a{'x' * 499} … 4002 characters … {'x' * 499}b"
    )


# ── streams that are closed, or full ─────────────────────────────────────────────────────────────────

PERDURE = f'"{sys.executable}" -c "from perdure.cli import main; main()"'


def in_shell(line: str, *, database: Path) -> subprocess.CompletedProcess[str]:
    words = line.replace("perdure ", f"{PERDURE} ").replace("DB", f"--address sqlite:{database}")
    with environment(COLUMNS="200"):
        # Without libfaketime: where a standard stream is closed, its shared memory gets that descriptor, and what is
        # printed then damages the clock of all tests.
        env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        return subprocess.run(
            ["bash", "-c", words], capture_output=True, text=True, check=False, timeout=60, env=env
        )


@pytest.mark.parametrize(
    ("line", "code", "err"),
    [
        ("perdure workflow list DB >&-", 0, ""),
        ("perdure workflow describe -w x DB >&- 2>&-", 4, ""),
        ("perdure workflow signal -w x --name s --input-file - DB <&-", 2, "cannot read stdin: it is closed"),
        ("perdure workflow list DB >/dev/full", 1, "perdure: cannot write the output: No space left on device\n"),
        ("perdure workflow list --help >/dev/full", 1, "perdure: cannot write the output: No space left on device\n"),
        ("perdure workflow describe -w x DB 2>/dev/full", 4, ""),
        ("PYTHONIOENCODING=ascii perdure workflow start --type é -t q DB", 0, ""),
    ],
)  # fmt: skip
def test_streams(line: str, code: int, err: str, tmp_path: Path) -> None:
    ran = in_shell(line, database=tmp_path / "x.db")
    assert ran.returncode == code, ran
    assert "Traceback" not in ran.stderr
    assert ran.stderr == err if err in {"", ran.stderr} else err in ran.stderr


def test_a_reader_that_has_gone(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for words in (["--help"], ["workflow", "list", "--address", f"sqlite:{tmp_path / 'x.db'}"]):
        ran = subprocess.run(
            [sys.executable, "-c", "from perdure.cli import main; main()", *words],
            stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60,
        )  # fmt: skip
        assert (ran.returncode, ran.stderr) == (0, b""), words
    os.close(writing)
