"""What each spelling of a target names, and what is refused because it could mean another file."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from perdure.client import Client
from perdure.embedded import EmbeddedConnection, place, place_of


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a folder in it; the home folder is another one."""
    folder, home = tmp_path.resolve() / "here", tmp_path.resolve() / "home"
    (folder / "data").mkdir(parents=True)
    home.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(home))
    return folder


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:x.db", "HERE/x.db"),
        ("sqlite:./x.db", "HERE/x.db"),
        ("sqlite:data/x.db", "HERE/data/x.db"),
        ("sqlite:../x.db", "HERE/../x.db"),
        ("sqlite:/var/lib/x.db", "/var/lib/x.db"),
        ("sqlite:/var/lib/../x.db", "/var/x.db"),
        ("sqlite:~/x.db", "HOME/x.db"),
        ("sqlite:orders", "HERE/orders"),
        ("sqlite:my orders #1.db", "HERE/my orders #1.db"),
        ("sqlite:100%.db", "HERE/100%.db"),
        ("sqlite:ab:c.db", "HERE/ab:c.db"),
        ("sqlite:bücher.db", "HERE/bücher.db"),
        # As SQLAlchemy reads them: three slashes and a relative path, four and an absolute one.
        ("sqlite:///x.db", "HERE/x.db"),
        ("sqlite:///./x.db", "HERE/x.db"),
        ("sqlite:///data/x.db", "HERE/data/x.db"),
        ("sqlite:///../x.db", "HERE/../x.db"),
        ("sqlite:///~/x.db", "HOME/x.db"),
        ("sqlite:////var/lib/x.db", "/var/lib/x.db"),
        ("sqlite://///var/lib/x.db", "/var/lib/x.db"),
        ("memory:", ""),
        ("memory://", ""),
        ("memory:x", "x"),
        ("memory://x", "x"),
    ],
)
def test_what_a_target_names(url: str, expected: str, here: Path):
    named = place_of(url)
    if url.startswith("memory"):
        assert named == expected
        return
    home = os.environ["HOME"]
    assert named == Path(expected.replace("HERE", str(here)).replace("HOME", home)).resolve()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:", "names no database: give 'sqlite:<file>' or 'memory:'"),
        ("sqlite:/", "names no database"),
        ("sqlite://", "names no database"),
        ("sqlite:///", "names no database"),
        ("sqlite:////", "names no database"),
        ("", "names no database"),
        ("x.db", "names no database"),
        ("http://x", "names no database"),
        ("sqlite::memory:", "an engine in memory is 'memory:'"),
        ("sqlite://:memory:", "an engine in memory is 'memory:'"),
        ("sqlite:///:memory:", "an engine in memory is 'memory:'"),
        ("sqlite:x.db?mode=ro", "no options after '?'"),
        ("sqlite:///file:x.db?mode=ro&uri=true", "no options after '?'"),
        ("memory:x?y", "no options after '?'"),
        (
            "sqlite://x.db",
            "after two slashes comes a host, and a file has none: give 'sqlite:x.db'",
        ),
        ("sqlite://localhost/x.db", "give 'sqlite:localhost/x.db'"),
        ("sqlite:///var/lib/x.db", "four slashes: 'sqlite:////var/lib/x.db'"),
        ("sqlite:data", "is a folder"),
        ("sqlite:data/", "is a folder"),
        ("sqlite:new/", "is a folder"),
        ("sqlite:.", "is a folder"),
        ("sqlite:///..", "is a folder"),
        ("sqlite:////tmp", "is a folder"),
        ("sqlite: x.db", "white space around the path"),
        ("sqlite:x.db\n", "white space around the path"),
        ("sqlite:x\x00.db", "control character"),
        ("sqlite:x\t.db", "control character"),
        ("sqlite:my%20orders.db", "nothing is decoded after '%'"),
        ("sqlite:///my%2forders.db", "nothing is decoded after '%'"),
        ("sqlite:C:/data/x.db", "a path of Windows"),
        ("sqlite:c:x.db", "a path of Windows"),
        ("sqlite:///C:/data/x.db", "a path of Windows"),
        ("sqlite:data\\x.db", "a path of Windows"),
        ("sqlite:~nobody-of-this-name/x.db", "names no file"),
    ],
)
async def test_what_is_refused_says_why_and_leaves_nothing_behind(
    url: str, reason: str, here: Path
):
    before = sorted(here.parent.rglob("*"))
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        place_of(url)
    assert repr(url) in str(caught.value)
    if url.startswith("sqlite:"):
        with pytest.raises(ValueError, match=re.escape(reason)) as told:
            await Client.connect(url)
        assert str(told.value) == str(caught.value)
    assert sorted(here.parent.rglob("*")) == before


def test_drives_and_backslashes_are_of_windows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(place, "_IS_WINDOWS", True)
    for url in ("sqlite:C:/x.db", "sqlite:a\\x.db"):
        assert isinstance(place_of(url), Path)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_both_spellings_open_the_same_file_and_only_that(here: Path):
    async with (
        await Client.connect("sqlite:x.db") as one,
        await Client.connect("sqlite:///x.db") as two,
        await Client.connect(f"sqlite:///{here}/x.db") as three,
    ):
        connections = [each.connection for each in (one, two, three)]
        owners = {id(each._owner) for each in connections if isinstance(each, EmbeddedConnection)}
        assert len(owners) == 1
    assert names(here) == {"data", "x.db", "x.db.lock"}


def test_three_slashes_do_not_open_a_new_file_in_place_of_an_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Three slashes were absolute once: an empty database would look as if all workflows were gone.
    meant = tmp_path / "orders.db"
    meant.touch()
    work = tmp_path / "work"
    (work / str(tmp_path).lstrip("/")).mkdir(parents=True)
    monkeypatch.chdir(work)
    path = str(meant).lstrip("/")
    with pytest.raises(ValueError, match="which does not exist, but") as refused:
        place_of(f"sqlite:///{path}")
    assert f"give 'sqlite:////{path}' for that file" in str(refused.value)
    assert place_of(f"sqlite:////{path}") == meant
    assert place_of(f"sqlite:{path}") == work / path
    (work / path).touch()
    assert place_of(f"sqlite:///{path}") == work / path
