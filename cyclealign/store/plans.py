"""The plan that a round was opened with, written once and read back exactly."""

from collections.abc import Sequence
from typing import Literal, cast

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.files import locate_weights
from cyclealign.store.prompts import prompt_record
from cyclealign.store.statements import insert_all, insert_new, now


def write_plan(session: Session, round_id: int, plan: records.RoundPlan) -> None:
    """Write the parts of the plan that have rows of their own. The prompts must be in the store already."""
    _write_prompts(session, round_id, plan.prompts, "train")
    _write_prompts(session, round_id, plan.held_out, "held_out")
    write_templates(session, round_id, plan.templates)
    write_pool(session, round_id, plan.demonstrations)


def write_pool(session: Session, round_id: int, demonstrations: Sequence[records.Demonstration]) -> None:
    """Write the pool of demonstrations of a round that has none."""
    remember_demonstrations(session, demonstrations)
    pool = [
        {
            "round_id": round_id,
            "position": position,
            "demonstration_id": shown.id,
            "tau": shown.tau,
            "chance": shown.chance,
            "promoted_in_round_number": shown.promoted_round,
        }
        for position, shown in enumerate(demonstrations)
    ]
    insert_all(session, tables.RoundDemonstration, pool)


def remember_demonstrations(session: Session, demonstrations: Sequence[records.Demonstration]) -> None:
    """Store the content of new demonstrations; promotions and retirements say which are in use."""
    rows = [
        {
            "id": shown.id,
            "kind": shown.kind,
            "question": shown.question,
            "answers": list(shown.answers),
            "turns": list(shown.turns) or None,
        }
        for shown in demonstrations
    ]
    insert_new(session, tables.Demonstration, rows, tables.Demonstration.id)


def remember_templates(session: Session, templates: Sequence[records.Template]) -> None:
    """Store the texts of templates that are new."""
    seen = now()
    texts = [{"hash": used.hash, "name": used.name, "text": used.text, "first_seen_at": seen} for used in templates]
    insert_new(session, tables.Template, texts, tables.Template.hash)


def read_round(session: Session, round_id: int) -> records.Round:
    """Return the round with its plan as it was opened."""
    row = session.get_one(tables.Round, round_id)
    experiment = session.get_one(tables.Experiment, row.experiment_id)
    plan = records.RoundPlan(
        experiment=experiment.name,
        settings={**row.settings, **({"experiment": experiment.name} if "experiment" in row.settings else {})},
        seed=row.seed,
        prompts=_read_prompts(session, round_id, "train"),
        held_out=_read_prompts(session, round_id, "held_out"),
        templates=read_templates(session, round_id),
        demonstrations=read_pool(session, round_id),
        base_model=row.base_model,
    )
    return records.Round(
        row.id,
        plan.experiment,
        row.number,
        plan,
        read_adapter(session, row.parent_adapter_id),
        experiment.origin,
        first_of_repeated(session, row.experiment_id, row.number),
    )


def first_of_repeated(session: Session, experiment_id: int | None, number: int) -> int | None:
    """Return the number of the first of the abandoned rounds in a row before this one; None if there is none."""
    earlier = tables.Round
    kept = select(func.max(earlier.number)).where(
        earlier.experiment_id == experiment_id,
        earlier.number < number,
        func.coalesce(earlier.verdict, "") != "abandoned",
    )
    first = (session.scalar(kept) or 0) + 1
    return first if first < number else None


def read_adapter(session: Session, adapter_id: str | None) -> records.Adapter | None:
    """Return the adapter with this id; None for None, which stands for the base model."""
    if adapter_id is None:
        return None
    return adapter_record(session.get_one(tables.Adapter, adapter_id))


def adapter_record(row: tables.Adapter) -> records.Adapter:
    """Return the value of a row, with the folder of its weights on this machine."""
    return records.Adapter(row.id, locate_weights(row.path, row.content_hash), row.content_hash, row.parent_id)


def read_templates(session: Session, round_id: int) -> tuple[records.Template, ...]:
    """Return the template versions that the round was opened with, in the order of its plan."""
    found = session.execute(
        select(tables.RoundTemplate.name, tables.Template.text)
        .join(tables.Template, tables.Template.hash == tables.RoundTemplate.template_hash)
        .where(tables.RoundTemplate.round_id == round_id)
        .order_by(tables.RoundTemplate.position)
    )
    return tuple(records.Template(name, text) for name, text in found)


def read_pool(session: Session, round_id: int) -> tuple[records.Demonstration, ...]:
    """Return the demonstrations that the round was opened with, in the order of its plan."""
    found = session.execute(
        select(tables.Demonstration, tables.RoundDemonstration)
        .join(tables.Demonstration, tables.Demonstration.id == tables.RoundDemonstration.demonstration_id)
        .where(tables.RoundDemonstration.round_id == round_id)
        .order_by(tables.RoundDemonstration.position)
    )
    return tuple(
        demonstration_record(content, shown.tau, shown.chance, shown.promoted_in_round_number)
        for content, shown in found
    )


def demonstration_record(
    row: tables.Demonstration, tau: float, chance: float, promoted_round: int | None
) -> records.Demonstration:
    """Return the value of a row, with tau, chance and round of its promotion."""
    kind = cast(Literal["static", "dynamic"], row.kind)  # the table takes no other
    turns = tuple(row.turns or ())
    return records.Demonstration(row.id, row.question, tuple(row.answers), kind, tau, chance, promoted_round, turns)


def _read_prompts(session: Session, round_id: int, purpose: records.Purpose) -> tuple[records.Prompt, ...]:
    found = session.execute(
        select(tables.Prompt, tables.RoundPrompt.token_ids)
        .join(tables.RoundPrompt, tables.RoundPrompt.prompt_id == tables.Prompt.id)
        .where(tables.RoundPrompt.round_id == round_id, tables.RoundPrompt.purpose == purpose)
        .order_by(tables.RoundPrompt.position)
    )
    return tuple(prompt_record(row, token_ids) for row, token_ids in found)


def add_held_out(session: Session, round_id: int, prompts: Sequence[records.Prompt]) -> None:
    """Write held-out prompts after those that the round has."""
    drawn = tables.RoundPrompt
    held_out = (drawn.round_id == round_id, drawn.purpose == "held_out")
    last = session.scalar(select(func.max(drawn.position)).where(*held_out))
    _write_prompts(session, round_id, prompts, "held_out", 0 if last is None else last + 1)


def _write_prompts(
    session: Session, round_id: int, prompts: Sequence[records.Prompt], purpose: records.Purpose, first: int = 0
) -> None:
    rows = [
        {
            "round_id": round_id,
            "prompt_id": prompt.id,
            "purpose": purpose,
            "position": position,
            "token_ids": None if prompt.token_ids is None else list(prompt.token_ids),
        }
        for position, prompt in enumerate(prompts, first)
    ]
    insert_all(session, tables.RoundPrompt, rows)


def write_templates(session: Session, round_id: int, templates: Sequence[records.Template]) -> None:
    """Write the template versions of a round that has none."""
    remember_templates(session, templates)
    versions = [
        {"round_id": round_id, "name": used.name, "position": position, "template_hash": used.hash}
        for position, used in enumerate(templates)
    ]
    insert_all(session, tables.RoundTemplate, versions)
