"""The judged lists of an experiment with their origin: what an exported row is made from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from cyclealign.config import ExperimentConfig, stored_settings
from cyclealign.errors import BadConfig
from cyclealign.records import Agreement, Candidate, Preference, Prompt, Ranker, Ranking, Round
from cyclealign.store import Store
from cyclealign.training.job import decided_pairs


@dataclass(frozen=True)
class Pair:
    """A preference between two answers; ``share`` of ``verdicts`` agree. Both None: a person, or shares not stored."""

    better: Candidate
    worse: Candidate
    share: float | None = None
    verdicts: int | None = None


@dataclass(frozen=True)
class JudgedList:
    """The answers to one prompt, best first, in a person's order if there is one, else the judge's; with their origin.

    ``preferences`` are the judge's verdicts on pairs, and belong to its own order. ``agreement`` compares policy and
    judge.
    """

    round: Round
    round_verdict: str
    config: ExperimentConfig
    prompt: Prompt
    answers: tuple[Candidate, ...]
    by_person: bool
    ranking: Ranking
    agreement: Agreement | None
    rankers: tuple[Ranker, ...]

    @property
    def judges(self) -> list[str]:
        """The models asked for verdicts; that of the settings for rounds without stored calls."""
        return sorted({ranker.model for ranker in self.rankers}) or [self.config.judge.model]

    @property
    def template_versions(self) -> list[str]:
        """The hashes of the judge's templates behind the list."""
        used = {ranker.template_hash for ranker in self.rankers}
        return sorted(used or {each.hash for each in self.round.plan.templates if each.name == "rank"})

    @property
    def preferences(self) -> tuple[Preference, ...]:
        """The judge's verdicts on pairs, in the order of the pairs; none of a list that a person ranked."""
        return () if self.by_person else self.ranking.preferences

    def pairs(self, min_preference: float | None) -> Iterator[Pair]:
        """Yield the pairs to learn from: a person's all, else those on which enough of the verdicts agree.

        Args:
            min_preference: minimum share of the verdicts; None: that of the round's settings.
        """
        min_share = self.config.training.min_preference if min_preference is None else min_preference
        order = [answer.id for answer in self.answers]
        decided = None if self.by_person else decided_pairs(order, self.ranking.preferences, min_share)
        if decided is None:
            yield from (Pair(better, worse) for better, worse in combinations(self.answers, 2))
            return
        verdicts = {(pair.better, pair.worse): pair.verdicts for pair in self.ranking.preferences}
        for better, worse, share in decided:
            count = verdicts[order[better], order[worse]]
            yield Pair(self.answers[better], self.answers[worse], share, count)


def chosen_rounds(store: Store, experiment: str, number: int | None, all_rounds: bool) -> list[dict[str, Any]]:
    """Return number and verdict of the rounds to export: one, all with rankings, or the accepted ones.

    Raises:
        NoSuchExperiment: there is no such experiment or round.
        BadConfig: no round is left.
    """
    outcomes = store.history.outcomes(experiment)
    if number is not None:
        store.rounds.get(experiment, number)  # raises for an unknown round
        return [row for row in outcomes if row["number"] == number]
    chosen = [row for row in outcomes if all_rounds or row["verdict"] == "accepted"]
    if not chosen:
        raise BadConfig(
            f"Experiment '{experiment}' has no accepted round. Export one with --round N, or all with --all-rounds."
        )
    return chosen


def judged_lists(store: Store, experiment: str, rounds: Sequence[dict[str, Any]]) -> Iterator[JudgedList]:
    """Yield the judged lists of the rounds, one round in memory at a time."""
    for summary in rounds:
        round_ = store.rounds.get(experiment, summary["number"])
        yield from _of_round(store, round_, str(summary["verdict"] or "open"))


def _of_round(store: Store, round_: Round, verdict: str) -> Iterator[JudgedList]:
    config = stored_settings(round_.plan.settings, f"Round {round_.number} of '{round_.experiment}'")
    rankings = store.rankings.by_prompt(round_.id, "judge")
    candidates = {one.id: one for answers in store.candidates.by_prompt(round_.id).values() for one in answers}
    agreements, rankers = store.agreements.by_prompt(round_.id), store.judges.rankers(round_.id)
    reviews = store.reviews.find(round_.experiment, round_.number)
    people = {review.prompt.id: review.verdict for review in reviews if review.verdict}
    for prompt in round_.plan.prompts:
        if (ranking := rankings.get(prompt.id)) is None:
            continue
        order = people.get(prompt.id) or ranking.order
        yield JudgedList(
            round=round_,
            round_verdict=verdict,
            config=config,
            prompt=prompt,
            answers=tuple(candidates[one] for one in order),
            by_person=prompt.id in people,
            ranking=ranking,
            agreement=agreements.get(prompt.id),
            rankers=tuple(rankers.get(prompt.id, ())),
        )
