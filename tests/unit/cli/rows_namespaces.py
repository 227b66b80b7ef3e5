"""Rows of `operator namespace create`, `update`, `describe` and `list`."""

from __future__ import annotations

from perdure.wire.api import workflowservice
from tests.unit.cli.table import Bench, new_id, row

CREATE, UPDATE = "operator namespace create", "operator namespace update"
DESCRIBE, LIST = "operator namespace describe", "operator namespace list"
SETTINGS = ("--retention", "--description", "--email", "--data")


def shown(bench: Bench, command: str, *words: str) -> dict[str, str]:
    """The fields that a command prints."""
    lines = bench.done(*command.split(), *words).lines
    return dict(line.split(maxsplit=1) for line in lines)


@row(CREATE, "--namespace", *SETTINGS, "")
@row(DESCRIBE, "--namespace", "")
def _create(bench: Bench) -> None:
    plain, full = new_id(), new_id()
    fields = shown(bench, CREATE, "--namespace", plain)
    assert fields.keys() == {"Name", "Id", "State", "Retention"}
    assert (fields["Name"], fields["State"], fields["Retention"]) == (
        plain,
        "REGISTERED",
        "forever",
    )
    words = (
        "--retention",
        "36h",
        "--description",
        "for tests",
        "--email",
        "a@b.c",
        "--data",
        "k=1",
        "--data",
        "j=x=y",
    )
    fields = shown(bench, CREATE, "-n", full, *words)
    del fields["Id"]
    expected = {
        "Name": full, "State": "REGISTERED", "Retention": "1d12h", "Description": "for tests", "Owner": "a@b.c",
        "j": "x=y", "k": "1",
    }  # fmt: skip
    assert fields == expected
    again = shown(bench, DESCRIBE, "-n", full)
    assert {key: again[key] for key in expected} == expected
    taken = bench.run(*CREATE.split(), "-n", full)
    assert (taken.code, taken.out) == (1, "")
    assert f"Namespace {full} already exists" in taken.err
    for wrong in (["--retention", "0"], ["--retention", "x"], ["--data", "x"], ["--data", "=x"]):
        refused = bench.run(*CREATE.split(), "-n", new_id(), *wrong)
        assert (refused.code, refused.out) == (2, ""), wrong
    assert bench.run(*DESCRIBE.split(), "-n", "nowhere").code == 4


@row(UPDATE, "--namespace", *SETTINGS, "")
def _update(bench: Bench) -> None:
    name = new_id()
    words = ("--retention", "2d", "--description", "old", "--email", "a@b.c", "--data", "k=1")
    before = shown(bench, CREATE, "-n", name, *words)
    assert shown(bench, UPDATE, "-n", name) == before, "what is not given stays"
    for flags, changes in (
        (["--retention", "forever"], {"Retention": "forever"}),
        (["--retention", "90m"], {"Retention": "1h30m"}),
        (["--description", "new"], {"Description": "new"}),
        (["--email", "x@y.z"], {"Owner": "x@y.z"}),
        (["--data", "j=2", "--data", "k=3"], {"j": "2", "k": "3"}),
    ):
        before |= changes
        assert shown(bench, UPDATE, "--namespace", name, *flags) == before, flags
    for wrong in (["--retention", "0s"], ["--data", "x"]):
        assert bench.run(*UPDATE.split(), "-n", name, *wrong).code == 2, wrong
    unknown = bench.run(*UPDATE.split(), "-n", "nowhere", "--description", "d")
    assert (unknown.code, unknown.out) == (4, "")


@row(LIST, "--namespace", "")
def _list(bench: Bench) -> None:
    names = sorted(new_id() for _ in range(3))
    for name in names:
        bench.done(*CREATE.split(), "-n", name, "--retention", "3d", "--description", f"{name}!")
    for _ in range(100):  # more than a page
        request = workflowservice.RegisterNamespaceRequest(namespace=new_id())
        bench.engine.run(bench.engine.client.workflow_service.register_namespace(request))
        names.append(request.namespace)
    table = bench.done(*LIST.split(), "--namespace", "nowhere").lines
    assert table[0].split() == ["NAME", "RETENTION", "DESCRIPTION"]
    found = [line.split() for line in table[1:]]
    assert [line[0] for line in found] == sorted(line[0] for line in found)
    assert [line for line in found if line[1:2] == ["3d"]] == [
        [n, "3d", f"{n}!"] for n in names[:3]
    ]
    assert {line[0] for line in found} >= set(names)


@row((CREATE, UPDATE, DESCRIBE, LIST), "--output")
def _output(bench: Bench) -> None:
    name = new_id()
    made = bench.done(*CREATE.split(), "-n", name, "-o", "json").json
    assert made["namespaceInfo"]["name"] == name
    for command in (UPDATE, DESCRIBE):
        assert bench.done(*command.split(), "-n", name, "--output", "json").json == made
        assert len(bench.done(*command.split(), "-n", name, "-o", "jsonl").lines) == 1
    assert made in bench.done(*LIST.split(), "-o", "json").json
    assert len(bench.done(*LIST.split(), "-o", "jsonl").lines) > 1
    for command in (UPDATE, DESCRIBE, LIST):
        assert bench.done(*command.split(), "-n", name, "-o", "none").out == ""
    assert bench.done(*CREATE.split(), "-n", new_id(), "-o", "none").out == ""
