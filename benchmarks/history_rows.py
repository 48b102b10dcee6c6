"""Rows of a long history, table by table, in an order in which their keys can be inserted; made, not run.

The figures are those of a long-lived installation: prompts of a hundred characters, answers of forty tokens, requests
of two kilobytes, every tenth prompt held out, each list ranked by policy and judge. Rows follow from their numbers.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from cyclealign.config import ExperimentConfig
from cyclealign.judge.templates import load_template
from cyclealign.records import Message, Prompt
from cyclealign.records.content import content_id

SET = "big"
EXPERIMENTS = ("big", "second", "third", "fourth")
OTHERS_SHARE = 0.1  # of the rounds, in each experiment but the first
TRAIN, HELD_OUT, ANSWERS = 250, 25, 4  # of a round
CALLS = {"rank": 180, "win_rate": 25, "accuracy": 10, "health": 5}
METRICS = (
    *("agreement_tau", "agreement_lcs", "agreement_chance", "judge_accuracy", "judge_steadiness", "win_rate"),
    *("judge_position_consistency", "judge_first_bias", "judge_length_bias", "health_accuracy", "health_swap"),
    *("health_repeat", "health_junk", "health_injection", "kl_from_base", "answer_tokens", "training_loss"),
)
TEMPLATES = Path(__file__).parents[1] / "prompts"
START = datetime(2026, 1, 1, tzinfo=UTC)
Row = Sequence[Any]


@dataclass(frozen=True)
class Size:
    """The size of a history: one million prompts and 1,000 rounds at scale 1."""

    scale: float

    @property
    def prompts(self) -> int:
        """Return the number of prompts of the set."""
        return round(1_000_000 * self.scale)

    @property
    def rounds(self) -> int:
        """Return the number of rounds of all experiments."""
        return round(1_000 * self.scale)


@dataclass(frozen=True)
class Table:
    """A part of a table's rows: its name, the columns of each row, and the rows."""

    name: str
    columns: tuple[str, ...]
    rows: Iterator[Row]


def config(experiment: str) -> ExperimentConfig:
    """Return the settings of an experiment."""
    values = {
        "experiment": experiment,
        "templates": str(TEMPLATES),
        "prompts": {"set_name": SET, "per_round": TRAIN, "held_out": HELD_OUT},
        "judge": {"model": "a-judge", "base_url": "http://127.0.0.1:9/v1"},
    }
    return ExperimentConfig.model_validate(values)


def prompt(number: int) -> Prompt:
    """Return a prompt of the set."""
    word = sha256(str(number).encode()).hexdigest()
    return Prompt.of((Message(role="user", content=f"Question {number}: what do you think of {word} in a kitchen?"),))


def is_held_out(number: int) -> bool:
    """Return whether a prompt of the set is held out."""
    return number % 10 == 0


def material(size: Size) -> Iterator[Table]:
    """Yield the rows that belong to no round: prompts, their set, templates and experiments."""
    yield Table("prompt", ("id", "messages", "text"), _prompts(size))
    yield Table("prompt_set", ("id", "name"), iter([(1, SET)]))
    yield Table("prompt_set_member", ("prompt_set_id", "prompt_id", "split", "source"), _members(size))
    rank = load_template(TEMPLATES, "rank")
    yield Table("template", ("hash", "name", "text", "first_seen_at"), iter([(rank.hash, "rank", rank.text, _at(0))]))
    rows = [(number, name, 0, _at(0)) for number, name in enumerate(EXPERIMENTS, 1)]
    yield Table("experiment", ("id", "name", "seed", "created_at"), iter(rows))


def rounds(size: Size, ids: Sequence[str], held_out: Sequence[str]) -> Iterator[Table]:
    """Yield the rows of the rounds.

    Args:
        ids: train prompts to draw, in order.
        held_out: held-out prompts of every round.
    """
    made = list(_made_rounds(size))
    columns: tuple[str, ...] = (
        "id",
        "experiment_id",
        "number",
        "status",
        "verdict",
        "reason",
        "owner",
        "lease_until",
        "seed",
    )
    yield Table("round", (*columns, "settings", "base_model", "opened_at", "closed_at", "kept"), _rounds(made))
    template = load_template(TEMPLATES, "rank").hash
    used = ((number, "rank", 0, template) for number, *_ in made)
    yield Table("round_template", ("round_id", "name", "position", "template_hash"), used)
    columns = ("round_id", "prompt_id", "purpose", "position", "token_ids")
    yield Table("round_prompt", columns, _drawn(made, ids, held_out))
    columns = ("id", "round_id", "prompt_id", "position", "text", "token_ids", "token_count", "logprob_sum")
    yield Table("candidate", (*columns, "mean_logprob", "finish_reason"), _candidates(made, ids, held_out))
    columns = ("experiment_id", "round_id", "purpose", "subject_id", "key", "model", "template_hash", "messages")
    columns = (*columns, "shown", "parameters", "status", "reply", "returned_model", "prompt_tokens")
    columns = (*columns, "completion_tokens", "cost_usd", "seconds", "attempts", "asked_at", "answered_at")
    yield Table("judge_call", columns, _calls(made, ids, template))
    yield Table("ranking", ("id", "round_id", "prompt_id", "ranked_by", "steadiness"), _rankings(made, ids))
    yield Table("ranking_place", ("ranking_id", "place", "candidate_id"), _places(made, ids))
    columns = ("round_id", "prompt_id", "agreed", "lcs_length", "answers", "chance_probability", "tau", "weight")
    yield Table("agreement", columns, _agreements(made, ids))
    figures = ((number, name, 0.5, 0.4, 0.6, 100, "") for number, *_ in made for name in METRICS)
    yield Table("metric", ("round_id", "name", "value", "low", "high", "count", "unit"), figures)
    steps = ((number, step, 60.0, 1) for number, *_ in made for step in ("generate", "judge", "train", "evaluate"))
    yield Table("round_step", ("round_id", "step", "seconds", "runs"), steps)


def candidate_id(round_id: int, prompt_id: str, position: int) -> str:
    """Return the id of an answer."""
    return content_id("history", round_id, prompt_id, position)


def _made_rounds(size: Size) -> Iterator[tuple[int, int, int, int]]:
    """Yield (round id, experiment id, number, place among the rounds of the experiment from 0)."""
    others = round(size.rounds * OTHERS_SHARE)
    counts = [size.rounds - others * (len(EXPERIMENTS) - 1), *[others] * (len(EXPERIMENTS) - 1)]
    made = 0
    for experiment, count in enumerate(counts, 1):
        for place in range(count):
            made += 1
            yield made, experiment, place + 1, place


def _rounds(made: Sequence[tuple[int, int, int, int]]) -> Iterator[Row]:
    settings = {number: json.dumps(config(name).model_dump(mode="json")) for number, name in enumerate(EXPERIMENTS, 1)}
    for id_, experiment, number, _ in made:
        verdict = "rolled_back" if number % 5 == 0 else "accepted"
        state = ("closed", verdict, "win rate 0.550", "host/1/0.00/run", _at(id_), 0, settings[experiment])
        yield (id_, experiment, number, *state, "a-model", _at(id_), _at(id_), verdict == "accepted")


def _prompts(size: Size) -> Iterator[Row]:
    for number in range(size.prompts):
        made = prompt(number)
        yield made.id, json.dumps(made.messages), made.text


def _members(size: Size) -> Iterator[Row]:
    for number in range(size.prompts):
        yield 1, prompt(number).id, "held_out" if is_held_out(number) else "train", "benchmark"


def of_round(place: int, ids: Sequence[str]) -> Sequence[str]:
    """Return the train prompts of an experiment's round at this place."""
    return ids[place * TRAIN : (place + 1) * TRAIN]


def _drawn(made: Sequence[tuple[int, int, int, int]], ids: Sequence[str], held_out: Sequence[str]) -> Iterator[Row]:
    token_ids = json.dumps(list(range(1000, 1040)))
    for id_, _, _, place in made:
        for purpose, drawn in (("train", of_round(place, ids)), ("held_out", held_out)):
            for position, prompt_id in enumerate(drawn):
                yield id_, prompt_id, purpose, position, token_ids


def _candidates(
    made: Sequence[tuple[int, int, int, int]], ids: Sequence[str], held_out: Sequence[str]
) -> Iterator[Row]:
    token_ids, words = json.dumps(list(range(2000, 2040))), "an answer of a few words " * 6
    for id_, _, _, place in made:
        for prompt_id in (*of_round(place, ids), *held_out):
            for position in range(ANSWERS):
                text = f"{words}{position}"
                made_id = candidate_id(id_, prompt_id, position)
                reason = "length" if position == 3 and id_ % 50 == 0 else "stop"
                yield made_id, id_, prompt_id, position, text, token_ids, 40, -20.0 - position, -0.5, reason


def _calls(made: Sequence[tuple[int, int, int, int]], ids: Sequence[str], template: str) -> Iterator[Row]:
    request = "A question and four answers, which the judge is asked to rank. " * 28
    shown, parameters = json.dumps([["A", "a"], ["B", "b"]]), json.dumps({"temperature": 0.0})
    for id_, experiment, _, place in made:
        subjects = of_round(place, ids)
        purposes = [purpose for purpose, count in CALLS.items() for _ in range(count)]
        for number, purpose in enumerate(purposes):
            messages = json.dumps([{"role": "user", "content": f"{id_} {number} {request}"}])
            subject, failed = subjects[number % len(subjects)], number % 100 == 7
            asked = (purpose, subject, content_id("call", id_, number), "a-judge", template, messages)
            reply = None if failed else '{"ranking": ["A", "B"]}'
            answered = ("failed" if failed else "answered", reply, "a-judge", 500, 20, 0.001, 1.0, 1)
            yield (experiment, id_, *asked, shown, parameters, *answered, _at(id_), _at(id_))


def _rankings(made: Sequence[tuple[int, int, int, int]], ids: Sequence[str]) -> Iterator[Row]:
    number = 0
    for id_, _, _, place in made:
        for prompt_id in of_round(place, ids):
            for ranked_by in ("policy", "judge"):
                number += 1
                yield number, id_, prompt_id, ranked_by, 0.9


def _places(made: Sequence[tuple[int, int, int, int]], ids: Sequence[str]) -> Iterator[Row]:
    number = 0
    for id_, _, _, place in made:
        for prompt_id in of_round(place, ids):
            candidates = [candidate_id(id_, prompt_id, position) for position in range(ANSWERS)]
            for order in (candidates, candidates[::-1]):
                number += 1
                for rank, candidate in enumerate(order, 1):
                    yield number, rank, candidate


def _agreements(made: Sequence[tuple[int, int, int, int]], ids: Sequence[str]) -> Iterator[Row]:
    for id_, _, _, place in made:
        for prompt_id in of_round(place, ids):
            agreed = json.dumps([candidate_id(id_, prompt_id, position) for position in range(2)])
            yield id_, prompt_id, agreed, 2, ANSWERS, 0.2, 0.3, 0.6


def _at(hours: int) -> str:
    return (START + timedelta(hours=hours)).strftime("%Y-%m-%d %H:%M:%S.%f")
