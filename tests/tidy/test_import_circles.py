"""No circle of modules: what a module imports never imports that module in turn, directly or through others.

Every import statement of `src/perdure` counts, also those inside functions and those for type checkers only: a circle
that no interpreter sees still means that neither module can be read, tested or moved without the other. A name that is
imported from a package counts as an import of the submodule of that name if there is one, and otherwise as one of the
package itself.

A circle is broken by moving the value or protocol that both need to a module below them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.tidy import source

# Each circle by its modules, with the reason why it stays.
ALLOWED: dict[frozenset[str], str] = {}


def test_modules_form_no_circles():
    assert [sorted(circle) for circle in _circles(_imports()) if circle not in ALLOWED] == []


def test_the_allowed_circles_exist():  # a circle that is gone must not come back
    assert [sorted(circle) for circle in ALLOWED if circle not in _circles(_imports())] == []


def _imports() -> dict[str, set[str]]:
    """Module → the modules of the package that it imports."""
    known = {module.name for module in source.modules()}
    return {
        module.name: {
            target
            for _, name in source.imported_names(module.tree)
            if (target := _module_of(name, known)) is not None and target != module.name
        }
        for module in source.modules()
    }


def _module_of(name: str, known: set[str]) -> str | None:
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


def _circles(graph: Mapping[str, set[str]]) -> list[frozenset[str]]:
    """The strongly connected components with more than one member (Tarjan)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[frozenset[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        path.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in order:
                visit(target)
            if target in path:
                lowest[node] = min(lowest[node], lowest[target])
        if lowest[node] == order[node]:
            at = path.index(node)
            if len(path) - at > 1:
                found.append(frozenset(path[at:]))
            del path[at:]

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


def _shown(edges: Mapping[str, Sequence[str]]) -> list[str]:
    return sorted("".join(sorted(c)) for c in _circles({k: set(v) for k, v in edges.items()}))


def test_how_circles_are_found():
    assert _shown({"a": "b", "b": "c", "c": ""}) == []
    assert _shown({"a": "b", "b": "a"}) == ["ab"]
    assert _shown({"a": "b", "b": "c", "c": "a", "d": "a"}) == ["abc"]
    assert _shown({"a": "b", "b": "a", "c": "ad", "d": "c"}) == ["ab", "cd"]
    assert _shown({"a": "bd", "b": "c", "c": "b", "d": "a"}) == ["ad", "bc"]
