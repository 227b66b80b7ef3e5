"""The steps of a lean import, on packages that are written for the purpose."""

from __future__ import annotations

import builtins
import importlib
import sys
import threading
from collections.abc import Iterator
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

from perdure.wire import api, lean_import

OUTER = "outer_package_of_a_test"
SERVICES = ("greeting", "parting", "waiting")
INIT = """
from outer_package_log import note
note("opened")
value = 7
"""
MESSAGES = """
import sys
class Greeting: pass
DESCRIPTOR = 1
"""
SERVICE = """
from .request_response_pb2 import Greeting
try:
    from .service_pb2_grpc import GreetingStub
except ImportError:
    pass
"""
STUBS = """
import grpc
class GreetingStub: pass
class GreetingServicer: pass
def add_to_server(): pass
class _HiddenStub: pass
other = 1
"""


@pytest.fixture(name="notes")
def _notes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """A package like the API's, on the path and not imported; what its `__init__` notes when it runs."""
    for name in SERVICES:
        service = tmp_path / OUTER / "api" / name / "v1"
        service.mkdir(parents=True)
        (tmp_path / OUTER / "api" / name / "__init__.py").write_text("")
        (service / "__init__.py").write_text(SERVICE)
        (service / "request_response_pb2.py").write_text(MESSAGES)
        (service / "service_pb2_grpc.py").write_text(STUBS)
    (tmp_path / OUTER / "__init__.py").write_text(INIT)
    (tmp_path / OUTER / "api" / "__init__.py").write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    monkeypatch.setattr(lean_import, "_PACKAGE", OUTER)
    monkeypatch.setattr(lean_import, "_SERVICES", (*SERVICES, "absent"))
    notes: list[str] = []
    log = ModuleType("outer_package_log")
    log.__dict__["note"] = notes.append
    monkeypatch.setitem(sys.modules, "outer_package_log", log)
    yield notes
    for name in [name for name in sys.modules if name.partition(".")[0] == OUTER]:
        del sys.modules[name]


SERVICE_NAME = f"{OUTER}.api.greeting.v1"


def test_what_lies_inside_a_package_is_imported_without_running_its_own_code(
    notes: list[str],
) -> None:
    lean_import.leave_unopened()
    assert importlib.import_module(f"{OUTER}.api").__name__ == f"{OUTER}.api"
    assert notes == []


def test_the_package_runs_once_when_it_is_asked_for_anything(notes: list[str]) -> None:
    lean_import.leave_unopened()
    outer = importlib.import_module(OUTER)
    assert notes == []
    assert outer.value == 7
    assert type(outer) is ModuleType
    assert not hasattr(outer, "no_such_name")
    delattr(outer, "value")
    with pytest.raises(AttributeError, match="value"):
        _ = outer.value
    assert notes == ["opened"]


def test_a_name_that_it_does_not_have_is_an_ordinary_error(notes: list[str]) -> None:
    lean_import.leave_unopened()
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = importlib.import_module(OUTER).no_such_name
    assert notes == ["opened"]


def test_of_two_threads_that_ask_at_once_one_runs_the_package_and_the_other_waits(
    notes: list[str],
) -> None:
    lean_import.leave_unopened()
    outer = importlib.import_module(OUTER)
    assert isinstance(outer, lean_import._Unopened)
    runs, may_end = threading.Event(), threading.Event()
    values: list[int] = []

    def note(what: str) -> None:
        notes.append(what)
        runs.set()
        assert may_end.wait(60)

    def ask() -> None:
        # What attribute access calls while the package is unopened; both came that far before it ran.
        values.append(lean_import._Unopened.__getattr__(outer, "value"))

    sys.modules["outer_package_log"].__dict__["note"] = note
    first, second = (threading.Thread(target=ask, daemon=True) for _ in range(2))
    first.start()
    assert runs.wait(60)
    second.start()
    second.join(0.05)  # time to fail, if it does not wait
    may_end.set()
    first.join(60)
    second.join(60)
    assert values == [7, 7]
    assert notes == ["opened"]


def test_a_package_that_fails_is_run_again_for_the_next_who_asks(notes: list[str]) -> None:
    lean_import.leave_unopened()
    outer = importlib.import_module(OUTER)

    def fail(_: str) -> None:
        raise ValueError("not now")

    sys.modules["outer_package_log"].__dict__["note"] = fail
    with pytest.raises(ValueError, match="not now"):
        _ = outer.value
    sys.modules["outer_package_log"].__dict__["note"] = notes.append
    assert outer.value == 7
    assert notes == ["opened"]


def test_a_package_may_ask_itself_for_names_as_it_runs(notes: list[str]) -> None:
    lean_import.leave_unopened()
    outer = importlib.import_module(OUTER)
    found: list[bool] = []

    def note(_: str) -> None:
        found.append(hasattr(outer, "value"))

    sys.modules["outer_package_log"].__dict__["note"] = note
    assert outer.value == 7
    assert found == [False]


def test_a_thread_does_not_wait_for_ever_for_one_that_cannot_go_on(
    notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that runs the package may wait for an import lock of the one that asks."""
    monkeypatch.setattr(lean_import, "_WAIT_S", 0.01)
    lean_import.leave_unopened()
    outer = importlib.import_module(OUTER)
    asked = threading.Event()

    def note(_: str) -> None:
        assert asked.wait(60)

    sys.modules["outer_package_log"].__dict__["note"] = note
    opener = threading.Thread(target=lambda: outer.value, daemon=True)
    opener.start()
    while not lean_import._opening:
        threading.Event().wait(0.001)
    with pytest.raises(AttributeError, match="value"):
        _ = outer.value
    asked.set()
    opener.join(60)
    assert outer.value == 7


def test_a_package_that_is_loaded_is_left_as_it_is(notes: list[str]) -> None:
    outer = importlib.import_module(OUTER)
    lean_import.leave_unopened()
    assert sys.modules[OUTER] is outer
    assert type(outer) is ModuleType
    assert notes == ["opened"]


def test_a_package_that_is_not_installed_is_not_put_into_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lean_import, "_PACKAGE", "no_such_package_of_a_test")
    lean_import.leave_unopened()
    assert "no_such_package_of_a_test" not in sys.modules


def test_other_distributions_may_add_to_the_package(
    notes: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other" / OUTER
    (other / "more").mkdir(parents=True)
    (other / "__init__.py").write_text("")
    (other / "more" / "__init__.py").write_text("here = 1")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "other")])
    importlib.invalidate_caches()
    lean_import.leave_unopened()
    assert importlib.import_module(f"{OUTER}.more").here == 1
    assert notes == []


@pytest.fixture(name="grpc", params=["loaded", "not loaded"])
def _grpc(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType | None:
    """A module in grpc's place, or none; the stubs import it either way."""
    if request.param == "not loaded":
        monkeypatch.delitem(sys.modules, "grpc", raising=False)
        return None
    module = ModuleType("grpc")
    monkeypatch.setitem(sys.modules, "grpc", module)
    return module


def assert_grpc_is_untouched(grpc: ModuleType | None) -> None:
    assert sys.modules.get("grpc") is grpc
    assert ("grpc" in sys.modules) is (grpc is not None)


def test_grpc_is_neither_loaded_nor_out_of_reach_while_services_are_loaded(
    notes: list[str], grpc: ModuleType | None
) -> None:
    before = list(sys.meta_path)
    lean_import.leave_unopened()
    with lean_import.without_grpc():
        assert builtins.__import__(SERVICE_NAME)
        assert_grpc_is_untouched(grpc)
        if grpc is not None:
            assert importlib.import_module("grpc") is grpc, "others may import it meanwhile"
    assert_grpc_is_untouched(grpc)
    assert sys.meta_path == before
    assert f"{SERVICE_NAME}.service_pb2_grpc" not in sys.modules
    assert notes == []


def test_the_finder_goes_after_an_error() -> None:
    before = list(sys.meta_path)
    with pytest.raises(ValueError, match="inside"), lean_import.without_grpc():
        raise ValueError("inside")
    assert sys.meta_path == before


def test_a_service_has_its_messages_and_looks_like_any_package(notes: list[str]) -> None:
    lean_import.leave_unopened()
    with lean_import.without_grpc():
        package = importlib.import_module(SERVICE_NAME)
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(f"{OUTER}.api.absent.v1")
    messages = importlib.import_module(f"{SERVICE_NAME}.request_response_pb2")
    assert package.Greeting is messages.Greeting
    assert package.__dict__["__all__"] == ["Greeting"], "neither its imports nor its descriptor"
    assert isinstance(package.__loader__, SourceFileLoader)
    assert package.__spec__ is not None
    assert package.__spec__.loader is package.__loader__
    assert package.__file__ is not None
    assert package.__file__.endswith("__init__.py")
    assert notes == []


def test_stubs_of_a_service_that_came_inside_the_block_are_loaded_on_request(
    notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "grpc", ModuleType("grpc"))
    lean_import.leave_unopened()
    with lean_import.without_grpc():
        package = importlib.import_module(SERVICE_NAME)
        others = [importlib.import_module(f"{OUTER}.api.{name}.v1") for name in SERVICES]
    assert [each.GreetingStub.__module__ for each in others] == [
        f"{OUTER}.api.{name}.v1.service_pb2_grpc" for name in SERVICES
    ]
    for name in SERVICES:
        del sys.modules[f"{OUTER}.api.{name}.v1.service_pb2_grpc"]
    for name in ("other", "_HiddenStub", "message"):
        with pytest.raises(AttributeError, match=f"'{SERVICE_NAME}' has no attribute '{name}'"):
            getattr(package, name)
    assert f"{SERVICE_NAME}.service_pb2_grpc" not in sys.modules
    stubs = importlib.import_module(f"{SERVICE_NAME}.service_pb2_grpc")
    assert package.GreetingStub is stubs.GreetingStub
    assert package.GreetingServicer is stubs.GreetingServicer
    assert package.add_to_server is stubs.add_to_server
    assert notes == []


def test_a_service_that_was_there_before_the_block_stays_as_it_was(
    notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "grpc", ModuleType("grpc"))
    package = importlib.import_module(SERVICE_NAME)
    with lean_import.without_grpc():
        pass
    assert not hasattr(package, "__getattr__")
    assert package.GreetingStub.__name__ == "GreetingStub"
    assert notes == ["opened"]


@pytest.mark.parametrize(
    ("service", "stub"),
    [
        ("operatorservice", "OperatorServiceStub"),
        ("testservice", "TestServiceStub"),
        ("workflowservice", "WorkflowServiceStub"),
    ],
)
def test_the_stubs_of_each_service_of_the_api_come_on_request(service: str, stub: str) -> None:
    assert hasattr(api, service)
    assert getattr(importlib.import_module(f"temporalio.api.{service}.v1"), stub).__name__ == stub


@pytest.mark.usefixtures("notes")
def test_an_import_of_another_thread_that_is_under_way_misses_no_finder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "module_of_another_thread.py").write_text("")
    importlib.invalidate_caches()
    is_inside, may_go_on = threading.Event(), threading.Event()

    class Slow:
        def find_spec(self, name: str, path: object, target: object = None) -> None:
            if name == "module_of_another_thread":
                is_inside.set()
                assert may_go_on.wait(60)

    before = list(sys.meta_path)
    at = before.index(PathFinder)
    monkeypatch.setattr(sys, "meta_path", [*before[:at], Slow(), *before[at:]])
    found: list[str] = []

    def look() -> None:
        found.append(importlib.import_module("module_of_another_thread").__name__)

    with lean_import.without_grpc():
        other = threading.Thread(target=look, daemon=True)
        other.start()
        assert is_inside.wait(60)
    may_go_on.set()
    other.join(60)
    assert found == ["module_of_another_thread"]
    del sys.modules["module_of_another_thread"]
