"""Settings as hashes see them, so that renaming or adding a setting keeps everything that was made before."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from cyclealign.config.section import Section


@dataclass(frozen=True)
class Renamed:
    """Marks a renamed setting: ``max_words: Annotated[int, Renamed("most_words")] = Field(16)``.

    A field whose ``validation_alias`` is ``AliasChoices("max_words", "most_words")`` needs no mark: the last choice is
    its first name.
    """

    first_name: str


@dataclass(frozen=True)
class _AddedLater:
    pass


# Marks a setting that is newer than its section's first release: ``trim: Annotated[bool, ADDED_LATER] = False``. Its
# default must keep the earlier behaviour, since the identity leaves it out there.
ADDED_LATER = _AddedLater()


def settings_identity(section: Section, exclude: Collection[str] = ()) -> dict[str, Any]:
    """The settings as JSON values for hashing, each under its first name; nested sections alike.

    Without `Renamed`, `ADDED_LATER` and aliases this is ``section.model_dump(mode="json", exclude=exclude)``.

    Args:
        exclude: fields (by the names that they have today) that do not bear on the result.
    """
    dumped = section.model_dump(mode="json")
    return {
        _first_name(name, field): _nested(getattr(section, name), dumped[name])
        for name, field in type(section).model_fields.items()
        if name not in exclude and not _as_before(field, getattr(section, name))
    }


def _nested(value: object, dumped: Any) -> Any:
    """The dumped value, with `settings_identity` in the place of each section that it holds."""
    if isinstance(value, Section):
        return settings_identity(value)
    if isinstance(value, Mapping):
        return {key: _nested(part, dumped[key]) for key, part in zip(dumped, value.values(), strict=True)}
    if isinstance(value, list | tuple):
        return [_nested(part, dumped_part) for part, dumped_part in zip(value, dumped, strict=True)]
    return dumped


def _first_name(name: str, field: FieldInfo) -> str:
    marks = [mark.first_name for mark in field.metadata if isinstance(mark, Renamed)]
    if marks:
        return marks[0]
    alias = field.validation_alias
    choices = [choice for choice in alias.choices if isinstance(choice, str)] if isinstance(alias, AliasChoices) else []
    return choices[-1] if choices else name


def _as_before(field: FieldInfo, value: object) -> bool:
    """Whether the setting was added later and has its default."""
    return ADDED_LATER in field.metadata and value == field.get_default(call_default_factory=True)
