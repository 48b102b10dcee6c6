"""Settings without effect beside others: each is marked on its field, and a run says so once, at its start."""

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo

from cyclealign.config.former_names import models_of
from cyclealign.config.section import Section


class OnlyWith:
    """Marks a setting, or a whole section, that has an effect only with some values of another setting.

    ``group_size: Annotated[int, OnlyWith("judge.method", "tournament")] = 4``

    Args:
        setting: dotted name of the other setting.
        values: its values with which the marked setting has an effect.
        remark: added to the message, such as the effect that is left.
    """

    def __init__(self, setting: str, *values: object, remark: str = "") -> None:
        self.setting, self.values, self.remark = setting, values, remark

    def words(self) -> str:
        """Return the condition as a sentence for the documentation."""
        return f"Only {' or '.join(beside(self.setting, value, '`') for value in self.values)}.".replace(
            "or with ", "or "
        )

    def unmet(self, config: Section) -> str | None:
        """Return the reason why the marked setting has no effect; None if it has one."""
        value = value_of(config, self.setting)
        return None if value in self.values else f"{beside(self.setting, value)}{self.remark}"


class NotWith(OnlyWith):
    """Marks a setting that has no effect with these values of another one; None: with the other one not set."""

    def words(self) -> str:
        """Return the condition as a sentence for the documentation."""
        if self.values == (None,):
            return f"Only with `{self.setting}`."
        return f"Not {' or '.join(beside(self.setting, value, '`') for value in self.values)}."

    def unmet(self, config: Section) -> str | None:
        """Return the reason why the marked setting has no effect; None if it has one."""
        value = value_of(config, self.setting)
        return f"{beside(self.setting, value)}{self.remark}" if value in self.values else None


class OnlyWithHubId(OnlyWith):
    """Marks a setting that has an effect only if the other one is a Hugging Face id, not a folder or `demo`."""

    def words(self) -> str:
        """Return the condition as a sentence for the documentation."""
        return f"Only with a Hugging Face id as `{self.setting}`."

    def unmet(self, config: Section) -> str | None:
        """Return the reason why the marked setting has no effect; None if it has one."""
        value = str(value_of(config, self.setting))
        return beside(self.setting, value) if value == "demo" or Path(value).is_dir() else None


class WithAnyOf:
    """Marks a setting that has an effect only if at least one of these other settings is set."""

    def __init__(self, *settings: str) -> None:
        self.settings = settings

    def words(self) -> str:
        """Return the condition as a sentence for the documentation."""
        return f"Only with {' or '.join(f'`{setting}`' for setting in self.settings)}."

    def unmet(self, config: Section) -> str | None:
        """Return the reason why the marked setting has no effect; None if it has one."""
        if any(value_of(config, setting) is not None for setting in self.settings):
            return None
        return f"without {' or '.join(self.settings)}"


def settings_without_effect(config: Section) -> list[str]:
    """Return a sentence for each reason that leaves settings without effect, with the settings that were set.

    A setting counts as set if it was given. In a section of which every setting was given, as by a form, it counts only
    if it differs from its default.
    """
    by_reason: dict[str, list[str]] = {}
    for name, reason in _unmet(config, config, ""):
        by_reason.setdefault(reason, []).append(name)
    return [
        f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} no effect {reason}."
        for reason, names in by_reason.items()
    ]


def conditions(field: FieldInfo) -> list[OnlyWith | WithAnyOf]:
    """Return the marks of a field that limit its effect."""
    return [mark for mark in field.metadata if isinstance(mark, OnlyWith | WithAnyOf)]


def value_of(config: Section, setting: str) -> object:
    """Return the value of a setting by its dotted name."""
    value: object = config
    for name in setting.split("."):
        value = getattr(value, name)
    return value


def beside(setting: str, value: object, quote: str = "") -> str:
    """Return the words for the value of the other setting, in TOML's spelling, between the quotes."""
    if value is None:
        return f"without {quote}{setting}{quote}"
    return f"with {quote}{setting} = {json.dumps(value, ensure_ascii=False, default=str)}{quote}"


def _unmet(config: Section, section: Section, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield (dotted name, reason) of each setting of the section that was set and has no effect."""
    for name in given_settings(section):
        field, value = type(section).model_fields[name], getattr(section, name)
        reason = next((words for mark in conditions(field) if (words := mark.unmet(config)) is not None), None)
        if not isinstance(value, Section):
            if reason is not None:
                yield f"{prefix}{name}", reason
        elif reason is None:
            yield from _unmet(config, value, f"{prefix}{name}.")
        else:
            yield from ((f"{prefix}{name}.{inner}", reason) for inner in given_settings(value))


def given_settings(section: Section) -> list[str]:
    """Return the names of the settings that were set, in the order of the class."""
    fields, given = type(section).model_fields, section.model_fields_set
    if given != set(fields):
        return [name for name in fields if name in given]
    return [
        name
        for name, field in fields.items()
        if any(models_of(field.annotation)) or getattr(section, name) != field.get_default(call_default_factory=True)
    ]
