"""The version of a template that the next round uses: that of the file, unless its labels were measurably worse.

A round is rolled back for its win rate or its KL, which say little about the template and much by chance. So an edit
stays in use after a rollback, unless the judge was measurably less accurate with it, and nobody has decided to keep it.
"""

from dataclasses import dataclass
from pathlib import Path

from cyclealign.judge.template_versions import format_ranges
from cyclealign.judge.templates import load_template
from cyclealign.records import Template, TemplateTrial
from cyclealign.store import Store

TEMPLATES = ("rank",)


@dataclass(frozen=True)
class TemplateChoice:
    """A template's version for the next round, and a notice if a rolled-back round used the file's version."""

    template: Template
    notice: str = ""


def choose_template(store: Store, experiment: str, folder: Path, name: str) -> TemplateChoice:
    """Return the version of a template that the next round of an experiment uses.

    Raises:
        BadTemplate: the file cannot be used.
    """
    edited = load_template(folder, name)
    accepted = store.templates.last_accepted(experiment, name)
    if accepted is None or edited.hash not in store.templates.rolled_back(experiment, name):
        return TemplateChoice(edited)
    if edited.hash in store.templates.kept(experiment):
        return TemplateChoice(edited)
    dropped = store.templates.trials(experiment, name, edited.hash, "rolled_back")
    reference = store.templates.trials(experiment, name, accepted.hash, "accepted")[-1]
    begin = f"{folder / name}.jinja, version {edited.hash[:12]}, was used by {rounds_of(dropped)} of '{experiment}'"
    command = f"`cyclealign templates keep {name} --experiment {experiment}`"
    if any(less_accurate(trial, reference) for trial in dropped):
        notice = (
            f"{begin}, rolled back, and the judge was less accurate with it ({accuracies(dropped, reference)}). The "
            f"accepted version {accepted.hash[:12]} is used instead. {command} keeps the edit."
        )
        return TemplateChoice(accepted, notice)
    return TemplateChoice(
        edited,
        f"{begin}, rolled back ({dropped[-1].reason}). The edit stays in use, since the judge was not measurably less "
        f"accurate with it; the last accepted version is {accepted.hash[:12]}. {command} ends this notice.",
    )


def less_accurate(trial: TemplateTrial, reference: TemplateTrial) -> bool:
    """Return whether the judge's accuracy on labels was worse beyond chance: its 95 % interval lies below the other.

    False for two judges, whose difference says nothing about the template, and without labels.
    """
    if trial.judge_model != reference.judge_model or trial.accuracy is None or reference.accuracy is None:
        return False
    high, low = trial.accuracy.high, reference.accuracy.low
    return high is not None and low is not None and high < low


def rounds_of(trials: list[TemplateTrial]) -> str:
    """Return the rounds as text."""
    return f"{'round' if len(trials) == 1 else 'rounds'} {format_ranges([trial.number for trial in trials])}"


def accuracies(dropped: list[TemplateTrial], reference: TemplateTrial) -> str:
    """Return the accuracy with the version dropped, and that with the accepted one, as text."""
    worse = next(trial for trial in dropped if less_accurate(trial, reference))
    assert worse.accuracy is not None
    assert reference.accuracy is not None
    return f"{worse.accuracy.value:.2f} in round {worse.number}, {reference.accuracy.value:.2f} in {reference.number}"
