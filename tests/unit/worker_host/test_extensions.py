"""Compiled libraries whose random numbers and clocks are refused; modules of the tests' own stand for them."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from perdure.worker.host import extensions, guard, wrapping
from tests.unit.worker_host.guarded import again, refused, run

if TYPE_CHECKING:
    from pathlib import Path

UUIDS = "uuid1 uuid4 uuid6 uuid7"
NUMPYS = (
    "beta binomial bytes chisquare choice dirichlet exponential f gamma geometric get_state gumbel hypergeometric"
    " laplace logistic lognormal logseries multinomial multivariate_normal negative_binomial noncentral_chisquare"
    " noncentral_f normal pareto permutation poisson power rand randint randn random random_integers random_sample ranf"
    " rayleigh sample seed set_state shuffle standard_cauchy standard_exponential standard_gamma standard_normal"
    " standard_t triangular uniform vonmises wald weibull zipf"
)
FUNCTIONS = [
    *((library, name) for library in ("fastuuid", "uuid_utils") for name in UUIDS.split()),
    *(("uuid_utils.compat", name) for name in UUIDS.split()),
    *(("numpy.random", name) for name in NUMPYS.split()),
]


def answering() -> Any:
    """A function of which nobody else has a reference."""

    def answer(*_args: object, **_options: object) -> str:
        return "answer"

    return answer


def installed(monkeypatch: pytest.MonkeyPatch, name: str, **attributes: Any) -> Any:
    """A module of that name, looked at by a guard of its own."""
    module: Any = ModuleType(name)
    for attribute, value in attributes.items():
        setattr(module, attribute, value)
    monkeypatch.setitem(sys.modules, name, module)
    own = again(extensions)
    own.wrapping = again(wrapping)
    own.wrapping.binding = SimpleNamespace(replaced=print, replaced_in_class=print)
    own.wrap()
    own.wrap()
    return module


@pytest.mark.parametrize(("library", "name"), FUNCTIONS)
def test_functions_that_draw_by_themselves_are_refused(
    library: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = installed(monkeypatch, library, **{name: answering()})
    said = refused(lambda: getattr(module, name)(1))
    assert said.startswith(f"{library}.{name}() in workflow Calls (")
    assert ("workflow.random()" if library == "numpy.random" else "workflow.uuid4()") in said
    assert getattr(module, name)(1) == "answer", "outside workflows"


def test_what_draws_from_a_seed_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    module = installed(monkeypatch, "numpy.random", default_rng=answering(), Generator=answering())
    assert run(module.Generator) == "answer"
    assert run(lambda: module.default_rng(3)) == "answer"
    for call in (module.default_rng, lambda: module.default_rng(None)):
        said = refused(call)
        assert said.startswith("numpy.random.default_rng() in workflow Calls (")
        assert "numpy.random.default_rng(workflow.random().getrandbits(128))" in said
    assert module.default_rng() == "answer"


MOMENTS = [
    ("Instant", "now"),
    ("OffsetDateTime", "now"),
    ("ZonedDateTime", "now"),
    ("ZonedDateTime", "now_in_system_tz"),
    ("Date", "today"),
    ("Date", "today_in_system_tz"),
]


@pytest.mark.parametrize(("kind", "name"), MOMENTS)
def test_clocks_of_compiled_classes_are_refused(
    kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: Any = type(kind, (), {name: classmethod(lambda cls, *given: [cls.__name__, *given])})
    installed(monkeypatch, "whenever", **{kind: made})
    said = refused(getattr(made, name))
    assert said.startswith(f"{kind}.{name}() in workflow Calls (")
    assert "from_timestamp_nanos(workflow.time_ns())" in said
    assert getattr(made, name)("zone") == [kind, "zone"]


def test_a_library_is_wrapped_when_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(lambda: None)
    monkeypatch.setitem(extensions.__dict__, "_wrapped", {})
    monkeypatch.delitem(sys.modules, "fastuuid", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "fastuuid.py").write_text("def uuid4(): return 'drawn'\n")

    def draws() -> str:
        import fastuuid  # pyright: ignore[reportMissingImports]

        library: Any = fastuuid
        return library.uuid4()

    try:
        assert refused(draws).startswith("fastuuid.uuid4() in workflow Calls (")
        assert draws() == "drawn"
        wrapped = sys.modules["fastuuid"]
        extensions.imported("fastuuid")
        extensions.imported("json")
        assert sys.modules["fastuuid"] is wrapped
    finally:
        sys.modules.pop("fastuuid", None)


def test_the_guard_looks_at_imports_of_no_other_module(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(guard.extensions, "imported", seen.append)
    guard._audit("import", ("colorsys", None))
    guard._audit("compile", ("source", "file"))
    assert seen == ["colorsys"]
