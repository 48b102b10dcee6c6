"""Settings as they enter hashes: renaming or adding a setting keeps all hashes, and thus all finished work."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from cyclealign.config.former_names import first_name, first_value
from cyclealign.config.section import Section


@dataclass(frozen=True)
class _AddedLater:
    pass


# Marks a setting that is newer than its section's first release: ``trim: Annotated[bool, ADDED_LATER] = False``. Its
# default must keep the earlier behaviour, since the identity leaves it out there.
ADDED_LATER = _AddedLater()


def settings_identity(section: Section, exclude: Collection[str] = ()) -> dict[str, Any]:
    """Return the settings as JSON values for hashing, each under its first name and value, nested sections included.

    Without `Formerly` and `ADDED_LATER` this is ``section.model_dump(mode="json", exclude=exclude)``.

    Args:
        exclude: fields, by current name, that do not affect the result.
    """
    dumped = section.model_dump(mode="json")
    return {
        first_name(name, field): first_value(field, _nested(getattr(section, name), dumped[name]))
        for name, field in type(section).model_fields.items()
        if name not in exclude and not _as_before(field, getattr(section, name))
    }


def _nested(value: object, dumped: Any) -> Any:
    """Return the dumped value with `settings_identity` in place of each section that it holds."""
    if isinstance(value, Section):
        return settings_identity(value)
    if isinstance(value, Mapping):
        return {key: _nested(part, dumped[key]) for key, part in zip(dumped, value.values(), strict=True)}
    if isinstance(value, list | tuple):
        return [_nested(part, dumped_part) for part, dumped_part in zip(value, dumped, strict=True)]
    return dumped


def _as_before(field: FieldInfo, value: object) -> bool:
    """Return whether the setting was added later and has its default."""
    return ADDED_LATER in field.metadata and value == field.get_default(call_default_factory=True)
