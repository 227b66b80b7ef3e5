"""Text of others is spelled out where it would steer a terminal, and JSON keeps its meaning."""

from __future__ import annotations

import ast
import io
import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import perdure.cli
from perdure.cli import app, logs, output
from perdure.cli.exits import CommandError
from perdure.rendering import timeline
from perdure.rendering.visible import visible
from perdure.wire.api import enums, history

ESC = "\x1b]0;t\x07"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, é, 世界, a b", "plain, é, 世界, a b"),
        ("\x1b[31m", "\\u001b[31m"),
        ("a\r\nb\tc", "a\\u000d\\u000ab\\u0009c"),
        ("\x00\x07\x7f", "\\u0000\\u0007\\u007f"),
        ("\x9b31m", "\\u009b31m"),
        ("\u202eabc\u202c", "\\u202eabc\\u202c"),
        ("\u2066\u2069\u200e\u200f\u061c", "\\u2066\\u2069\\u200e\\u200f\\u061c"),
        ("\u2028\u2029\u0085", "\\u2028\\u2029\\u0085"),
        ("\ufeff\u200b", "\\ufeff\\u200b"),
        ("\udcff", "\\udcff"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("a\u00a0b", "a\u00a0b"),
    ],
)
def test_what_would_steer_a_terminal_is_spelled_out(text: str, shown: str):
    assert visible(text) == shown


def test_lines_of_a_longer_text_stay():
    assert visible("a\n\tb\r\x1b", keep_lines=True) == "a\n\tb\\u000d\\u001b"


@given(st.text())
def test_json_means_the_same(text: str):
    spelled = visible(json.dumps([text], ensure_ascii=False, indent=2), keep_lines=True)
    assert json.loads(spelled) == [text]
    spelled.encode()


def test_documents_tables_and_fields(capsys: pytest.CaptureFixture[str]):
    value = {"id": f"{ESC}\x9b\u202e\n"}
    for form in ("json", "jsonl"):
        output.document(value, form)
        shown = capsys.readouterr().out
        assert json.loads(shown) == value
        assert visible(shown, keep_lines=True) == shown
    output.table(("A", "B"), [(f"{ESC}\nforged", "x")])
    output.fields([("Id", f"{ESC}\nforged"), ("k\ney", "v")])
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == 4
    assert visible(shown, keep_lines=True) == shown


@pytest.mark.parametrize("detailed", [False, True])
def test_histories(*, detailed: bool):
    event = history.HistoryEvent(
        event_id=1, event_type=enums.EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    )
    event.workflow_execution_signaled_event_attributes.signal_name = f"{ESC}\nforged"
    style = timeline.Style(detailed=detailed)
    drawn = timeline.render(history.History(events=[event]), style=style, title=f"{ESC}\nforged")
    assert len(drawn.split("\n")) == 4
    assert visible(drawn, keep_lines=True) == drawn
    followed = timeline.event_line(event, 0, style)
    assert followed is not None
    assert visible(followed) == followed


def test_errors(capsys: pytest.CaptureFixture[str]):
    assert app.run_for_exit_code(["workflow", f"list{ESC}"]) == 2
    assert app.run_for_exit_code(["worker", "run", f"{ESC}\nforged"]) == 2
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 5
    assert visible(shown, keep_lines=True) == shown


def test_errors_with_text_of_the_server(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object, **__: object) -> None:
        raise CommandError(f"{ESC}\nforged \u202e")

    monkeypatch.setattr(app.cli, "main", refuse)
    assert app.run_for_exit_code([]) == 1
    assert capsys.readouterr().err == "perdure: \\u001b]0;t\\u0007\\u000aforged \\u202e\n"


@pytest.mark.parametrize("formatter", [logs.JsonFormatter(), logs.TextFormatter("%(message)s")])
def test_logs(formatter: logging.Formatter):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    about = (ValueError, ValueError(ESC), None)
    handler.emit(logging.LogRecord("x", logging.INFO, "f", 1, "%s", (f"{ESC}\u202e",), about))
    shown = stream.getvalue()
    assert "\\u001b]0;t" in shown
    assert visible(shown, keep_lines=True) == shown


def test_commands_print_through_one_function():
    for path in Path(perdure.cli.__file__).parent.glob("*.py"):
        found = [
            node.lineno
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "click.echo"
        ]
        assert len(found) == (1 if path.name == "output.py" else 0), (path.name, found)
