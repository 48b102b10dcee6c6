"""Revise an open round: take over the settings, templates and demonstrations that may change now, and report the rest.

Nothing differs in silence: every difference is either applied and stored with the round, or reported as ignored.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclealign.config import UNTIL_JUDGED, Difference, ExperimentConfig
from cyclealign.errors import BadTemplate
from cyclealign.loop.plan import judge_material, require_fit, require_same_model
from cyclealign.loop.session import RoundSession
from cyclealign.loop.settings import change_notice, described, effective_settings
from cyclealign.records import Demonstration, Round, SettingChange, Template, content_id

logger = logging.getLogger(__name__)
NOTE = "settings"


@dataclass(frozen=True)
class Material:
    """Templates and pool of demonstrations of an open round, and the differences that were applied and ignored."""

    templates: tuple[Template, ...]
    demonstrations: tuple[Demonstration, ...]
    applied: tuple[Difference, ...] = ()
    ignored: tuple[Difference, ...] = ()


def revise(session: RoundSession, round_: Round) -> Round:
    """Apply the settings that may change in the open round; return the round with them. The session takes them, too.

    Raises:
        BadConfig: a changed setting contradicts one that the round keeps; or the base model or the training method is
            another one than the experiment's.
        PolicyError: with the changed settings a prompt of the round does not fit the context.
        LeaseLost: another run took the round over.
    """
    require_same_model(session)
    given, begun = session.config, session.store.changes.begun(round_.id)
    merged = effective_settings(given, round_, begun)
    session.apply_settings(merged.settings)
    material = revised_material(session, round_, given, judged="judge" in begun)
    if any(change.setting.startswith("policy.") for change in merged.applied) and "generate" not in begun:
        require_fit(session, (*round_.plan.prompts, *round_.plan.held_out))
    applied, ignored = (*merged.applied, *material.applied), (*merged.ignored, *material.ignored)
    if applied:
        round_ = store_changes(session, round_, merged.settings, material, applied)
    if applied or ignored:
        logger.warning("%s", change_notice(round_, applied, ignored))
    return round_


def revised_material(session: RoundSession, round_: Round, given: ExperimentConfig, judged: bool) -> Material:
    """Return the judge's material of the round: that of the files, unless the judge has replied to some of it.

    Args:
        given: the settings of the run; the session has those of the round.
    """
    kept = Material(round_.plan.templates, round_.plan.demonstrations)
    try:
        templates, pool = judge_material(session, Path(given.templates))
    except BadTemplate as error:
        if not judged:
            raise
        logger.warning("The round keeps the templates and demonstrations that it was opened with. %s", error)
        return kept
    differences = tuple(material_differences(given, kept, templates, pool))
    if judged:
        return Material(kept.templates, kept.demonstrations, ignored=differences)
    return Material(templates, pool, applied=differences)


def material_differences(
    config: ExperimentConfig, kept: Material, templates: Sequence[Template], pool: Sequence[Demonstration]
) -> list[Difference]:
    """Return the differences between the round's material and that of the files, by hash."""
    pairs = [
        (str(Path(config.templates) / f"{new.name}.jinja"), old.hash[:12], new.hash[:12])
        for old, new in zip(kept.templates, templates, strict=True)
    ]
    pairs.append(("demonstrations shown", pool_version(kept.demonstrations), pool_version(pool)))
    return [Difference(name, old, new, UNTIL_JUDGED) for name, old, new in pairs if old != new]


def pool_version(pool: Sequence[Demonstration]) -> str:
    """Return number and hash of the demonstrations."""
    return f"{len(pool)} (version {content_id('pool', [shown.id for shown in pool])[:12]})"


def store_changes(
    session: RoundSession,
    round_: Round,
    settings: ExperimentConfig,
    material: Material,
    applied: Sequence[Difference],
) -> Round:
    """Store the changes with the round, and a note of all of them for the history; return the round as stored."""
    changes = [SettingChange(change.setting, change.opened, change.current) for change in applied]
    session.store.changes.record(
        round_.id,
        session.owner,
        changes,
        settings.model_dump(mode="json"),
        material.templates,
        material.demonstrations,
    )
    logged = session.store.changes.of_round(round_.id)
    words = "; ".join(described(Difference(change.setting, change.before, change.after)) for change in logged)
    session.store.notes.record(round_.id, NOTE, f"changed while the round was open: {words}")
    return session.store.rounds.get(round_.experiment, round_.number)
