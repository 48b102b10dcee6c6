"""Settings as hashes see them: renaming or adding one keeps the key of everything that was made before."""

from typing import Annotated

import pytest
from pydantic import AliasChoices, Field

from cyclealign.config import ADDED_LATER, Renamed, Section, settings_identity
from flows.jobs import JOBS


class Inner(Section):
    most_words: int = 16


class Outer(Section):
    inner: Inner = Inner()
    several: tuple[Inner, ...] = (Inner(), Inner(most_words=4))
    named: dict[str, Inner] = Field({"a": Inner()})
    rate: float = 0.5


class InnerNow(Section):
    max_words: Annotated[int, Renamed("most_words")] = Field(16, ge=2)
    trim: Annotated[bool, ADDED_LATER] = Field(False, title="Trim")


class OuterNow(Section):
    part: InnerNow = Field(InnerNow(), validation_alias=AliasChoices("part", "inner"))
    several: tuple[InnerNow, ...] = (InnerNow(), InnerNow(max_words=4))
    named: dict[str, InnerNow] = Field({"a": InnerNow()})
    rate: float = 0.5


@pytest.mark.parametrize("entry", JOBS.values(), ids=lambda entry: entry.name)
def test_settings_without_marks_are_hashed_as_they_are_dumped(entry):
    """Prevents students of 0.1.0, whose keys hold the dumped settings, from being trained again."""
    config = entry.config()
    assert settings_identity(config, exclude={"again"}) == config.model_dump(mode="json", exclude={"again"})


def test_renamed_and_added_settings_keep_the_key():
    """Prevents a better name, or one more setting, from throwing students away: in nested sections too."""
    assert settings_identity(OuterNow()) == settings_identity(Outer()) == Outer().model_dump(mode="json")


def test_values_of_renamed_and_added_settings_change_the_key():
    """Prevents students of other settings from being taken for those that were asked for."""
    keys = [
        settings_identity(each)
        for each in (OuterNow(), OuterNow(part=InnerNow(max_words=3)), OuterNow(part=InnerNow(trim=True)))
    ]
    assert keys[1]["inner"] == {"most_words": 3}
    assert keys[2]["inner"] == {"most_words": 16, "trim": True}
    assert keys[0] not in keys[1:]


def test_excluded_settings_are_left_out():
    """Prevents what does not bear on a result, such as its arms, from changing its key."""
    assert set(settings_identity(OuterNow(), exclude={"several", "named"})) == {"inner", "rate"}
