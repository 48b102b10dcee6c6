"""Former names and values of settings: files, stored plans and schedules that use them still load."""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

logger = logging.getLogger("cyclealign.config")

_noted: set[str] = set()


@dataclass(frozen=True)
class Formerly:
    """Marks a renamed setting: ``max_orders: Annotated[int, Formerly("most_orders")] = Field(4)``.

    Args:
        name: the setting's former name; None if only values were renamed.
        values: former value -> current value, which also applies to the values of a mapping.
    """

    name: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)


def marker_of(info: FieldInfo) -> Formerly:
    """Return the field's marker, or an empty one."""
    return next((mark for mark in info.metadata if isinstance(mark, Formerly)), Formerly())


def current_names(model: type[BaseModel], given: Any, path: str = "") -> Any:
    """Return the raw settings of ``model`` under their current names and values, nested sections included.

    Whole values are translated at once so that a notice names the full path.

    Raises:
        ValueError: a setting is given under both names.
    """
    if not isinstance(given, Mapping):
        return given
    found = dict(given)
    for name, info in model.model_fields.items():
        mark = marker_of(info)
        if mark.name is not None and mark.name in found:
            if name in found:
                raise ValueError(f"'{path}{mark.name}' is the former name of '{path}{name}': give only the new one.")
            note_former(f"{path}{mark.name}", f"{path}{name}")
            found[name] = found.pop(mark.name)
        if name in found:
            found[name] = _current_value(mark, found[name], f"{path}{name}")
            found[name] = _current_section(info, found[name], f"{path}{name}.")
    return found


def first_name(name: str, info: FieldInfo) -> str:
    """Return the first name of the setting."""
    return marker_of(info).name or name


def first_value(info: FieldInfo, dumped: Any) -> Any:
    """Return the dumped value in its first spelling."""
    former = {now: before for before, now in marker_of(info).values.items()}
    if isinstance(dumped, Mapping):
        return {key: former.get(value, value) for key, value in dumped.items()} if former else dumped
    return former.get(dumped, dumped) if isinstance(dumped, str) else dumped


def former_names(model: type[BaseModel]) -> dict[str, str]:
    """Return former name -> current name of the model's own fields."""
    marks = {name: marker_of(info).name for name, info in model.model_fields.items()}
    return {former: name for name, former in marks.items() if former is not None}


def allow_former_names(model: type[BaseModel], schema: dict[str, Any]) -> None:
    """Let the JSON schema accept former names.

    Prefect checks parameters against the schema before pydantic sees them. Pattern properties are accepted there but
    not shown in the form.
    """
    if former := former_names(model):
        schema["patternProperties"] = {f"^({'|'.join(map(re.escape, former))})$": {}}


def note_former(former: str, current: str) -> None:
    """Log, once per process, that a former name was used."""
    _note(f"{former} is now called {current}; the old name still works.")


def _current_value(mark: Formerly, value: Any, path: str) -> Any:
    if isinstance(value, Mapping) and mark.values:
        return {key: _current_value(mark, part, f"{path}.{key}") for key, part in value.items()}
    if isinstance(value, str) and value in mark.values:
        _note(f"{path} = '{value}' is now spelled '{mark.values[value]}'; the old value still works.")
        return mark.values[value]
    return value


def _current_section(info: FieldInfo, value: Any, path: str) -> Any:
    """Translate the section, or the sections, that the field holds."""
    for kind in models_of(info.annotation):
        if isinstance(value, list | tuple):
            return [current_names(kind, part, path) for part in value]
        return current_names(kind, value, path)
    return value


def models_of(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections that a field of this type holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not None:
        for part in get_args(annotation):
            yield from models_of(part)


def _note(line: str) -> None:
    """Log the notice once per process."""
    if line not in _noted:
        _noted.add(line)
        logger.warning(line)
