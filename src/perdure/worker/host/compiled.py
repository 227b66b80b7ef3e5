"""Compiled schemas that keep default factories where no reference can be replaced: pydantic's validators.

pydantic compiles a model's schema into an object written in Rust, which calls `default_factory` itself. After a factory
was replaced (`binding`), the validators and serializers of all models that use it are compiled again from the schema.
The schema consists of dictionaries, so by then it refers to the replacement. Inner models are compiled before outer
ones, and adapters last, because those include what was compiled for the inner ones.

The search sees every object of the process and checks its `type()` only: `isinstance` reads `__class__`, which
evaluates lazy objects and raises for dead proxies.

Not here: other libraries, whose data classes are plain Python.
"""

from __future__ import annotations

import gc
import logging
import sys
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)

_dict: Any = dict
_list: Any = list
_tuple: Any = tuple
_attributes_of: Any = type.__dict__["__dict__"].__get__
"""A class's own attributes, even if its metaclass overrides `__dict__`."""


def rebuild(table: Mapping[int, tuple[Any, Any]]) -> None:
    """Recompile the schemas that refer to a replacement.

    Args:
        table: Replaced objects and their replacements.
    """
    pydantic: Any = sys.modules.get("pydantic")
    core: Any = sys.modules.get("pydantic_core")
    if pydantic is None or core is None:
        return
    originals = [original for original, _ in table.values()]
    replacements = {id(new) for _, new in table.values()}
    if not any(type(each) is core.SchemaValidator for each in gc.get_referrers(*originals)):
        return
    found: list[tuple[int, Any]] = []
    for each in gc.get_objects():
        kind = cast("type[object]", type(each))
        try:
            schema = _schema_of(each, pydantic)
            parts = _parts(schema) if schema is not None else {}
        except Exception:  # one bad object must not end the search  # noqa: BLE001
            _log.warning("The pydantic schema of a %s cannot be read", kind, exc_info=True)
            continue
        if not replacements.isdisjoint(parts):
            found.append((len(parts) if issubclass(kind, type) else sys.maxsize, each))
    for _, each in sorted(found, key=itemgetter(0)):
        _compile(each, pydantic)


def _schema_of(each: Any, pydantic: Any) -> Any:
    kind = cast("type[object]", type(each))
    if issubclass(kind, type):
        return _attributes_of(each).get("__pydantic_core_schema__")
    return getattr(each, "core_schema", None) if kind is pydantic.TypeAdapter else None


def _parts(schema: object) -> dict[int, object]:
    """All parts of a schema, by id. The schema of an outer model has more parts than those of its inner models."""
    found: dict[int, object] = {}
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if id(part) in found:
            continue
        found[id(part)] = part
        kind = cast("type[object]", type(part))
        if issubclass(kind, dict):
            waiting += _dict.values(part)
        elif issubclass(kind, list):
            waiting += _list.__iter__(part)
        elif issubclass(kind, tuple):
            waiting += _tuple.__iter__(part)
    return found


def _compile(each: Any, pydantic: Any) -> None:
    try:
        if not issubclass(type(each), type):
            each.rebuild(force=True)
        elif issubclass(each, pydantic.BaseModel):
            each.model_rebuild(force=True)
        else:
            pydantic.dataclasses.rebuild_dataclass(each, force=True)
    except Exception:  # whatever the model's own hooks raise  # noqa: BLE001
        _log.warning(
            "The schema of %s cannot be compiled again: the determinism guard does not see its default factories",
            each,
            exc_info=True,
        )
