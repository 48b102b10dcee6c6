"""Rankings of a round's candidates, and prompts without a verdict."""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from sqlalchemy import ColumnElement, delete, exists, select
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.store.repository import Repository
from cyclealign.store.statements import Row, in_parts, insert, insert_all, require_open

RankingKey = tuple[str, str]  # prompt id, ranker
Conditions = tuple[ColumnElement[bool], ...]


class RankingStore(Repository):
    """Rankings by policy, judge and agreement."""

    def add(self, round_id: int, rankings: Sequence[records.Ranking]) -> None:
        """Add rankings of prompts that the round drew, all or none; an existing one stays as it is.

        Raises:
            LeaseLost: the round is closed.
        """
        with self._database.writing() as session:
            require_open(session, round_id)
            once: dict[tuple[str, str], records.Ranking]
            once = {(ranking.prompt_id, ranking.by): ranking for ranking in reversed(rankings)}
            new = _insert_rankings(session, round_id, list(once.values()))
            places = [
                {"ranking_id": ranking_id, "place": place, "candidate_id": candidate_id, "score": score}
                for key, ranking_id in new.items()
                for place, (candidate_id, score) in enumerate(_scored(once[key]), 1)
            ]
            insert_all(session, tables.RankingPlace, places)
            insert_all(session, tables.RankingPreference, _preference_rows(new, once))
            insert_all(session, tables.RankingReason, _reason_rows(new, once))
            _no_longer_unjudged(session, round_id, [prompt_id for prompt_id, by in new if by == "judge"])

    def by_prompt(self, round_id: int, by: records.RankedBy) -> dict[str, records.Ranking]:
        """Return the rankings by ``by`` in this round, by prompt id, in the order of the round's prompts."""
        with self._database.reading() as session:
            return {ranking.prompt_id: ranking for ranking in read_rankings(session, round_id) if ranking.by == by}

    def unjudged(self, round_id: int) -> list[str]:
        """Return the ids of the round's train prompts, in order, that are answered, not set aside and not ranked by the
        judge.
        """
        drawn, candidate, ranking = tables.RoundPrompt, tables.Candidate, tables.Ranking
        answered = exists().where(candidate.round_id == round_id, candidate.prompt_id == drawn.prompt_id)
        judged = exists().where(
            ranking.round_id == round_id, ranking.prompt_id == drawn.prompt_id, ranking.ranked_by == "judge"
        )
        with self._database.reading() as session:
            found = session.scalars(
                select(drawn.prompt_id)
                .where(drawn.round_id == round_id, drawn.purpose == "train", drawn.set_aside_reason.is_(None))
                .where(answered, ~judged)
                .order_by(drawn.position)
            )
            return list(found)

    def mark_unjudged(self, round_id: int, prompt_id: str, reason: str) -> None:
        """Record that a prompt has no verdict, and why; a later ranking of it removes the record.

        Raises:
            LeaseLost: the round is closed.
        """
        with self._database.writing() as session:
            require_open(session, round_id)
            row = {"round_id": round_id, "prompt_id": prompt_id, "reason": reason}
            statement = insert(session, tables.UnjudgedPrompt).values(row)
            keys = ["round_id", "prompt_id"]
            session.execute(statement.on_conflict_do_update(index_elements=keys, set_={"reason": reason}))


def read_rankings(session: Session, round_id: int, prompt_ids: Sequence[str] | None = None) -> list[records.Ranking]:
    """Return the rankings of the round, or of the prompts named, in the order of its prompts."""
    ranking, place, drawn = tables.Ranking, tables.RankingPlace, tables.RoundPrompt
    mine = of_prompts(round_id, prompt_ids)
    found = session.execute(
        select(ranking, place.candidate_id, place.score)
        .join(place, place.ranking_id == ranking.id)
        .join(drawn, (drawn.round_id == ranking.round_id) & (drawn.prompt_id == ranking.prompt_id))
        .where(*mine)
        .order_by(drawn.purpose, drawn.position, ranking.ranked_by, place.place)
    )
    places: dict[int, list[tuple[str, float | None]]] = {}
    rows: dict[int, tables.Ranking] = {}
    for row, candidate_id, score in found:
        rows[row.id] = row
        places.setdefault(row.id, []).append((candidate_id, score))
    preferences, reasons = _preferences(session, mine), _reasons(session, mine)
    return [
        _ranking_record(row, places[row.id], preferences.get(row.id, []), reasons.get(row.id, []))
        for row in rows.values()
    ]


def _scored(ranking: records.Ranking) -> Iterator[tuple[str, float | None]]:
    """Yield the ids of a ranking, each with its score, if it has one."""
    return zip(ranking.order, ranking.scores or [None] * len(ranking.order), strict=True)


def of_prompts(round_id: int, prompt_ids: Sequence[str] | None) -> Conditions:
    """Return the conditions on rankings of the round, or of the prompts named."""
    ranking = tables.Ranking
    mine = (ranking.round_id == round_id,)
    return mine if prompt_ids is None else (*mine, ranking.prompt_id.in_(prompt_ids))


def _insert_rankings(
    session: Session, round_id: int, rankings: Sequence[records.Ranking]
) -> dict[tuple[str, str], int]:
    """Insert new rankings; return their ids by prompt and ranker, since rows may be returned in any order."""
    if not rankings:
        return {}
    rows = [
        {
            "round_id": round_id,
            "prompt_id": ranking.prompt_id,
            "ranked_by": ranking.by,
            "steadiness": ranking.steadiness,
            "score": ranking.score,
            "length_slope": ranking.length_slope,
        }
        for ranking in rankings
    ]
    table = tables.Ranking
    statement = insert(session, table).on_conflict_do_nothing()
    found = session.execute(statement.returning(table.id, table.prompt_id, table.ranked_by), rows)
    return {(prompt_id, by): ranking_id for ranking_id, prompt_id, by in found}


def _preference_rows(new: Mapping[RankingKey, int], rankings: Mapping[RankingKey, records.Ranking]) -> list[Row]:
    return [
        {
            "ranking_id": ranking_id,
            "position": position,
            "better_id": each.better,
            "worse_id": each.worse,
            "share": each.share,
            "verdicts": each.verdicts,
        }
        for key, ranking_id in new.items()
        for position, each in enumerate(rankings[key].preferences)
    ]


def _reason_rows(new: Mapping[RankingKey, int], rankings: Mapping[RankingKey, records.Ranking]) -> list[Row]:
    return [
        {"ranking_id": ranking_id, "position": position, "candidate_id": candidate_id, "reason": reason}
        for key, ranking_id in new.items()
        for position, (candidate_id, reason) in enumerate(rankings[key].reasons)
    ]


def _no_longer_unjudged(session: Session, round_id: int, prompt_ids: Sequence[str]) -> None:
    table = tables.UnjudgedPrompt
    for part in in_parts(prompt_ids):
        session.execute(delete(table).where(table.round_id == round_id, table.prompt_id.in_(part)))


def _preferences(session: Session, mine: Conditions) -> dict[int, list[records.Preference]]:
    table = tables.RankingPreference
    found = session.scalars(
        select(table)
        .join(tables.Ranking, tables.Ranking.id == table.ranking_id)
        .where(*mine)
        .order_by(table.ranking_id, table.position)
    )
    by_ranking: dict[int, list[records.Preference]] = {}
    for row in found:
        made = records.Preference(row.better_id, row.worse_id, row.share, row.verdicts)
        by_ranking.setdefault(row.ranking_id, []).append(made)
    return by_ranking


def _reasons(session: Session, mine: Conditions) -> dict[int, list[tuple[str, str]]]:
    table = tables.RankingReason
    found = session.scalars(
        select(table)
        .join(tables.Ranking, tables.Ranking.id == table.ranking_id)
        .where(*mine)
        .order_by(table.ranking_id, table.position)
    )
    by_ranking: dict[int, list[tuple[str, str]]] = {}
    for row in found:
        by_ranking.setdefault(row.ranking_id, []).append((row.candidate_id, row.reason))
    return by_ranking


def _ranking_record(
    row: tables.Ranking,
    places: Sequence[tuple[str, float | None]],
    preferences: Sequence[records.Preference],
    reasons: Sequence[tuple[str, str]],
) -> records.Ranking:
    by = cast(records.RankedBy, row.ranked_by)  # the table takes no other
    order, scores = (candidate_id for candidate_id, _ in places), (score for _, score in places if score is not None)
    return records.Ranking(
        row.prompt_id,
        by,
        tuple(order),
        row.steadiness,
        tuple(preferences),
        tuple(reasons),
        row.score,
        tuple(scores),
        row.length_slope,
    )


def read_unjudged(session: Session, round_id: int) -> dict[str, str]:
    """Return the reasons of the prompts without a verdict, by prompt id."""
    table = tables.UnjudgedPrompt
    found = session.execute(select(table.prompt_id, table.reason).where(table.round_id == round_id))
    return {row.prompt_id: row.reason for row in found}
