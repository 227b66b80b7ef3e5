"""The activities of a worker by type, checked once when the worker is made. Not here: running them (`activities`)."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from perdure.activity.definition import Definition


class ActivityRegistry:
    """The activities of a worker by type, checked once."""

    def __init__(self, activities: Sequence[Callable[..., Any]], executor: Executor | None) -> None:
        self._by_name: dict[str, Definition] = {}
        self._dynamic: Definition | None = None
        for activity in activities:
            definition = Definition.must_from_callable(activity)
            _check(activity, definition, executor)
            if definition.name is None:
                if self._dynamic is not None:
                    raise TypeError("More than one dynamic activity")
                self._dynamic = definition
            elif definition.name in self._by_name:
                raise ValueError(f"More than one activity named {definition.name}")
            else:
                self._by_name[definition.name] = definition

    def find(self, name: str) -> Definition | None:
        return self._by_name.get(name, self._dynamic)

    @property
    def names(self) -> list[str]:
        return sorted(self._by_name)


def _check(activity: Callable[..., Any], definition: Definition, executor: Executor | None) -> None:
    if inspect.isclass(activity):
        raise TypeError(f"Activity named {definition.name} is a class instead of an instance")
    if inspect.isfunction(activity) and definition.takes_self:
        warnings.warn(
            f"Activity named {definition.name} has a first parameter named self but is not bound to an instance,"
            " did you mean to register it from an instance of the class?",
            stacklevel=4,
        )
    if definition.is_async:
        return
    if executor is None:
        raise ValueError(
            f"Activity {definition.name} is not async so an activity_executor must be present"
        )
    if not isinstance(executor, ThreadPoolExecutor):
        raise ValueError(  # noqa: TRY004 - the official package's type
            f"Activity {definition.name} is not async and its activity_executor is not a ThreadPoolExecutor:"
            " activities in other processes are not supported yet"
        )
