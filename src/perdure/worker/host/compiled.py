"""Compiled schemas that keep default factories where no reference can be replaced: pydantic's validators.

pydantic compiles a model's schema into an object written in Rust, which calls `default_factory` by itself. When a
factory was replaced (`binding`), the validators and serializers of all models that use it are compiled again from the
schema, which is made of dictionaries and refers to the replacement by then. Inner models come before outer ones, as
outer ones take in the compiled inner ones.

Not here: other libraries; their data classes are plain Python.
"""

from __future__ import annotations

import gc
import logging
import sys
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)


def rebuild(table: Mapping[int, tuple[Any, Any]]) -> None:
    """Compile the schemas again that refer to a replacement.

    Args:
        table: Replaced objects and their replacements.
    """
    pydantic: Any = sys.modules.get("pydantic")
    core: Any = sys.modules.get("pydantic_core")
    if pydantic is None or core is None:
        return
    originals = [original for original, _ in table.values()]
    replacements = {id(new) for _, new in table.values()}
    if not any(isinstance(each, core.SchemaValidator) for each in gc.get_referrers(*originals)):
        return
    seen: dict[int, bool] = {}
    for each in gc.get_objects():
        schema = _schema_of(each, pydantic)
        if schema is not None and _mentions(schema, replacements, seen):
            _compile(each, pydantic)


def _schema_of(each: Any, pydantic: Any) -> Any:
    if isinstance(each, type):
        return each.__dict__.get("__pydantic_core_schema__")
    return getattr(each, "core_schema", None) if type(each) is pydantic.TypeAdapter else None


def _mentions(schema: object, wanted: set[int], seen: dict[int, bool]) -> bool:
    """Whether one of the wanted objects occurs in a schema."""
    if id(schema) in wanted:
        return True
    if isinstance(schema, dict):
        parts = list(cast("dict[Any, Any]", schema).values())
    elif isinstance(schema, list | tuple):
        parts = list(cast("list[Any]", schema))
    else:
        return False
    key = id(cast("object", schema))
    if key not in seen:
        seen[key] = False  # while it is under way: schemas may contain themselves
        seen[key] = any(_mentions(part, wanted, seen) for part in parts)
    return seen[key]


def _compile(each: Any, pydantic: Any) -> None:
    try:
        if not isinstance(each, type):
            each.rebuild(force=True)
        elif issubclass(each, pydantic.BaseModel):
            cast("Any", each).model_rebuild(force=True)
        else:
            pydantic.dataclasses.rebuild_dataclass(each, force=True)
    except Exception:  # whatever the model's own hooks raise  # noqa: BLE001
        _log.warning(
            "The schema of %s cannot be compiled again: the determinism guard does not see its default factories",
            each,
            exc_info=True,
        )
