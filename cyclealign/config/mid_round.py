"""Settings that may change while a round is open; each field, or its section, is marked with its rule."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from cyclealign.config.former_names import models_of
from cyclealign.config.section import Section

S = TypeVar("S", bound=Section)
Stage = Literal["generate", "judge", "agree", "train", "evaluate"]


@dataclass(frozen=True)
class MidRound:
    """Marks when a setting may change in an open round.

    Args:
        until: the stage whose rows depend on the setting: it may change as long as the round has none of them. None:
            at any time.
    """

    until: Stage | None = None


@dataclass(frozen=True)
class _Fixed:
    pass


@dataclass(frozen=True)
class _OfTheRun:
    pass


Rule = MidRound | _Fixed | _OfTheRun

# A setting that an open round reads anew in each run: ``retries: Annotated[int, CHANGEABLE_MID_ROUND] = 5``. It must
# not bear on rows that are stored: answers, the judge's rankings, weights.
CHANGEABLE_MID_ROUND = MidRound()
# Settings that a stage's rows depend on; a resumed round takes them as long as the stage has stored nothing.
UNTIL_GENERATED, UNTIL_JUDGED = MidRound("generate"), MidRound("judge")
UNTIL_AGREED, UNTIL_TRAINED, UNTIL_EVALUATED = MidRound("agree"), MidRound("train"), MidRound("evaluate")
# A setting that the opening of the round has used up. Settings without a mark, and outside a marked section, are fixed.
FIXED_MID_ROUND = _Fixed()
# A setting of the run rather than of its rounds: always the current value, and never reported as a change.
OF_THE_RUN = _OfTheRun()


@dataclass(frozen=True)
class Difference:
    """A setting, by its dotted name, of which an open round and the current run have different values (JSON values)."""

    setting: str
    opened: Any
    current: Any
    rule: Rule = FIXED_MID_ROUND


@dataclass(frozen=True)
class Merged(Generic[S]):
    """The settings that an open round goes on with, and the differences that were applied and ignored."""

    settings: S
    applied: tuple[Difference, ...]
    ignored: tuple[Difference, ...]


def merge(opened: S, current: S, begun: Collection[str]) -> Merged[S]:
    """Return ``opened`` with the current values of the settings that may change now. Values are not validated anew.

    Args:
        begun: the stages that have stored rows in the round.
    """
    applied: list[Difference] = []
    ignored: list[Difference] = []

    def merged(before: Section, now: Section, prefix: str, inherited: Rule) -> Section:
        update: dict[str, object] = {}
        dumped = before.model_dump(mode="json"), now.model_dump(mode="json")
        for name, field in type(before).model_fields.items():
            value, new, rule = getattr(before, name), getattr(now, name), rule_of(field.metadata, inherited)
            if isinstance(value, Section) and isinstance(new, Section):
                update[name] = merged(value, new, f"{prefix}{name}.", rule)
                continue
            takes = may_change(rule, begun)
            if takes:
                update[name] = new
            if value != new and rule != OF_THE_RUN:
                difference = Difference(f"{prefix}{name}", dumped[0][name], dumped[1][name], rule)
                (applied if takes else ignored).append(difference)
        return before.model_copy(update=update)

    settings = merged(opened, current, "", FIXED_MID_ROUND)
    assert isinstance(settings, type(opened))
    return Merged(settings, tuple(applied), tuple(ignored))


def rule_of(marks: Collection[object], inherited: Rule) -> Rule:
    """Return the field's own rule, or else that of its section."""
    return next((mark for mark in marks if isinstance(mark, MidRound | _Fixed | _OfTheRun)), inherited)


def may_change(rule: Rule, begun: Collection[str]) -> bool:
    """Return whether a setting with this rule may change in a round that has rows of these stages."""
    return rule == OF_THE_RUN or (isinstance(rule, MidRound) and rule.until not in begun)


def mid_round_rules(model: type[Section], prefix: str = "", inherited: Rule = FIXED_MID_ROUND) -> dict[str, Rule]:
    """Return the rule of each setting by its dotted name."""
    return dict(_rules(model, prefix, inherited))


def _rules(model: type[Section], prefix: str, inherited: Rule) -> Iterator[tuple[str, Rule]]:
    for name, field in model.model_fields.items():
        rule = rule_of(field.metadata, inherited)
        sections = [kind for kind in models_of(field.annotation) if issubclass(kind, Section)]
        for section in sections:
            yield from _rules(section, f"{prefix}{name}.", rule)
        if not sections:
            yield f"{prefix}{name}", rule
