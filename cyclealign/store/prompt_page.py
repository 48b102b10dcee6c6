"""Choose prompts of a round in SQL, a page at a time."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, exists, func, or_, select, text
from sqlalchemy.orm import Session, aliased

from cyclealign import tables


class Property(StrEnum):
    """A property of a prompt of a round, by the name of the command line's option."""

    DISAGREED = "disagreed"
    UNJUDGED = "unjudged"
    SET_ASIDE = "set-aside"
    FLAGGED = "flagged"
    TRUNCATED = "truncated"
    REVIEWED = "reviewed"


@dataclass(frozen=True)
class PromptFilter:
    """Prompts of a round.

    Attributes:
        purpose: training or held-out prompts; None: both.
        only: each prompt has all these properties. ``disagreed``: the tau of policy and judge is below 0; these come
            first with the lowest tau. ``flagged`` and ``truncated``: at least one answer is. ``reviewed``: sent to
            reviewers, answered or not.
        search: text in the prompt or in one of its answers, in upper or lower case.
    """

    purpose: Literal["train", "held_out"] | None = "train"
    only: tuple[Property, ...] = ()
    search: str = ""


def count_prompts(session: Session, round_id: int, chosen: PromptFilter) -> int:
    """Return the number of prompts of the round that the filter leaves."""
    return session.scalar(_chosen(select(func.count()), round_id, chosen)) or 0


def chosen_prompts(
    session: Session, round_id: int, chosen: PromptFilter, limit: int | None = None, start: int = 0
) -> list[str]:
    """Return the ids of prompts that the filter leaves, in the order of the round, ``limit`` from ``start`` on."""
    drawn = tables.RoundPrompt
    query = _chosen(select(drawn.prompt_id), round_id, chosen)
    if Property.DISAGREED in chosen.only:
        query = query.order_by(_tau())
    query = query.order_by(drawn.purpose.desc(), drawn.position).limit(limit).offset(start)
    return list(session.scalars(query))


def shared_prompts(session: Session, first: int, second: int, limit: int, start: int = 0) -> tuple[list[str], int]:
    """Return the ids of prompts that two rounds drew, in the order of the first, and the number of all of them."""
    drawn, other = tables.RoundPrompt, aliased(tables.RoundPrompt)
    both = exists().where(other.round_id == second, other.prompt_id == drawn.prompt_id)
    query = select(drawn.prompt_id).where(drawn.round_id == first, both)
    count = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    ordered = query.order_by(drawn.purpose.desc(), drawn.position).limit(limit).offset(start)
    return list(session.scalars(ordered)), count


def _chosen(query: Select[Any], round_id: int, chosen: PromptFilter) -> Select[Any]:
    drawn = tables.RoundPrompt
    query = query.select_from(drawn).where(drawn.round_id == round_id, *(_has(name) for name in chosen.only))
    if chosen.purpose is not None:
        query = query.where(drawn.purpose == chosen.purpose)
    return query.where(_contains(chosen.search)) if chosen.search else query


def _tau() -> ColumnElement[float]:
    agreement, drawn = tables.Agreement, tables.RoundPrompt
    mine = (agreement.round_id == drawn.round_id, agreement.prompt_id == drawn.prompt_id)
    return select(agreement.tau).where(*mine).correlate(drawn).scalar_subquery()


def _has(name: Property) -> ColumnElement[bool]:
    """Return the condition that a prompt of a round has the property."""
    drawn, candidate, flag = tables.RoundPrompt, tables.Candidate, tables.CandidateFlag
    answer = (candidate.round_id == drawn.round_id, candidate.prompt_id == drawn.prompt_id)
    conditions: dict[Property, ColumnElement[bool]] = {
        Property.DISAGREED: _tau() < 0,
        Property.UNJUDGED: _listed(tables.UnjudgedPrompt),
        Property.SET_ASIDE: drawn.set_aside_reason.is_not(None),
        Property.FLAGGED: exists().where(*answer, flag.candidate_id == candidate.id),
        # As in the index: a parameter would keep SQLite from using it.
        Property.TRUNCATED: exists().where(*answer, text("candidate.finish_reason = 'length'")),
        Property.REVIEWED: _listed(tables.Review),
    }
    return conditions[name]


def _listed(table: type[tables.UnjudgedPrompt] | type[tables.Review]) -> ColumnElement[bool]:
    drawn = tables.RoundPrompt
    return exists().where(table.round_id == drawn.round_id, table.prompt_id == drawn.prompt_id)


def _contains(words: str) -> ColumnElement[bool]:
    drawn, candidate, prompt = tables.RoundPrompt, tables.Candidate, tables.Prompt
    answer = (candidate.round_id == drawn.round_id, candidate.prompt_id == drawn.prompt_id)
    return or_(
        exists().where(prompt.id == drawn.prompt_id, prompt.text.icontains(words, autoescape=True)),
        exists().where(*answer, candidate.text.icontains(words, autoescape=True)),
    )
