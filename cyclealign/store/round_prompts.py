"""Prompts of a round with their answers, as JSON values; the names are those of the view ``answers``."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import bindparam, select, text
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.store.agreements import read_agreements
from cyclealign.store.candidates import read_flags
from cyclealign.store.prompts import prompt_record
from cyclealign.store.rankings import read_rankings, read_unjudged
from cyclealign.store.reviews import read_reviews
from cyclealign.store.statements import in_parts

Values = dict[str, Any]
# Columns of the view that belong to an answer; the others are those of its prompt, or of the whole round.
OF_AN_ANSWER = (
    *("candidate_id", "prompt_id", "position", "answer", "thought", "token_count", "thought_tokens"),
    *("logprob_sum", "mean_logprob", "finish_reason", "judge_place", "policy_place", "agreed", "flag_count"),
    *("adapter_id", "adapter_hash", "copied_from", "policy_score", "policy_score_name"),
)


def read_prompts(session: Session, round_id: int, prompt_ids: Sequence[str] | None = None) -> list[Values]:
    """Return prompts of a round in its order, training prompts first, or those named, in the order given.

    ``id`` and ``text`` of prompts and candidates are the names of 0.2 and earlier for ``prompt_id``, ``prompt``,
    ``candidate_id`` and ``answer``.
    """
    if prompt_ids is None:
        return _read(session, round_id, None)
    rows = [row for part in in_parts(prompt_ids) for row in _read(session, round_id, part)]
    by_id = {row["prompt_id"]: row for row in rows}
    return [by_id[prompt_id] for prompt_id in prompt_ids]


def _read(session: Session, round_id: int, prompt_ids: Sequence[str] | None) -> list[Values]:
    candidates = _candidates(session, round_id, prompt_ids)
    rankings = _by_prompt(read_rankings(session, round_id, prompt_ids))
    agreements = {row.prompt_id: asdict(row) for row in read_agreements(session, round_id, prompt_ids)}
    unjudged, reviews = read_unjudged(session, round_id), read_reviews(session, round_id)
    query = (
        select(tables.Prompt, tables.RoundPrompt)
        .join(tables.RoundPrompt, tables.RoundPrompt.prompt_id == tables.Prompt.id)
        .where(tables.RoundPrompt.round_id == round_id)
        .order_by(tables.RoundPrompt.purpose.desc(), tables.RoundPrompt.position)
    )
    if prompt_ids is not None:
        query = query.where(tables.RoundPrompt.prompt_id.in_(prompt_ids))
    return [
        {
            "prompt_id": drawn.prompt_id,
            "id": drawn.prompt_id,
            "prompt": asked.text,
            "text": asked.text,
            "turns": list(prompt_record(asked).turns),
            "purpose": drawn.purpose,
            "prompt_position": drawn.position,
            "set_aside_reason": drawn.set_aside_reason,
            "candidates": candidates.get(drawn.prompt_id, []),
            "rankings": rankings.get(drawn.prompt_id, {}),
            "unjudged_reason": unjudged.get(drawn.prompt_id),
            "agreement": agreements.get(drawn.prompt_id),
            "agreement_tau": agreements.get(drawn.prompt_id, {}).get("tau"),
            "review": reviews.get(drawn.prompt_id),
        }
        for asked, drawn in session.execute(query)
    ]


def _candidates(session: Session, round_id: int, prompt_ids: Sequence[str] | None) -> dict[str, list[Values]]:
    round_ = session.get_one(tables.Round, round_id)
    experiment = session.get_one(tables.Experiment, round_.experiment_id).name
    values: Values = {"experiment": experiment, "number": round_.number}
    query = f"SELECT {', '.join(OF_AN_ANSWER)} FROM answers WHERE experiment = :experiment AND round = :number"  # noqa: S608 - names of columns
    statement = text(f"{query} ORDER BY position, candidate_id")
    if prompt_ids is not None:
        statement = text(f"{query} AND prompt_id IN :ids ORDER BY position, candidate_id").bindparams(
            bindparam("ids", expanding=True)
        )
        values["ids"] = list(prompt_ids)
    flags = read_flags(session, round_id, prompt_ids)
    by_prompt: dict[str, list[Values]] = {}
    for row in session.execute(statement, values).mappings():
        answer = {**row, "id": row["candidate_id"], "text": row["answer"]}
        answer["agreed"] = None if row["agreed"] is None else bool(row["agreed"])  # SQLite has no booleans
        marks = flags.get(row["candidate_id"], [])
        answer["flags"] = [{"kind": flag.kind, "excerpt": flag.excerpt} for flag in marks]
        by_prompt.setdefault(row["prompt_id"], []).append(answer)
    return by_prompt


def _by_prompt(rankings: Sequence[records.Ranking]) -> dict[str, Values]:
    by_prompt: dict[str, Values] = {}
    for ranking in rankings:
        given: Values = {"order": list(ranking.order), "steadiness": ranking.steadiness}
        if ranking.by == "policy":
            given |= {"score": ranking.score or "mean_logprob", "length_slope": ranking.length_slope}
        given["preferences"] = [asdict(pair) for pair in ranking.preferences]
        given["reasons"] = [{"candidate": candidate, "reason": reason} for candidate, reason in ranking.reasons]
        by_prompt.setdefault(ranking.prompt_id, {})[ranking.by] = given
    return by_prompt
