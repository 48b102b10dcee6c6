"""The totals of closed rounds agree with their rows, whatever is written before and after a round is closed."""

import random
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from cyclealign import tables
from cyclealign.records import CallOutcome, Round
from cyclealign.store import Store, round_summary, totals
from tests.support.store_values import answers, call, opened, prompts, ranked, reply

SUMMED = ("judge_calls", "failed_judge_calls", "judge_tokens", "cost_usd", "estimated_usd")
COUNTED = ("prompts", "held_out_prompts", "prompts_judged", "prompts_unjudged", "prompts_set_aside", "answers")


def summary(store: Store, columns: dict[str, object] | None) -> list[dict[str, object]]:
    """Return ``round_summary``, or with ``columns`` the same from expressions that read rows alone."""
    names = (*SUMMED, *COUNTED, "held_out_answers", "experiment", "number")
    with store.engine.connect() as connection:
        view = "round_summary"
        if columns is not None:
            view = f"({round_summary._select(connection, names, columns)}) AS counted"
        found = connection.exec_driver_sql(f"SELECT {', '.join(names)} FROM {view} ORDER BY experiment, number")
        return [dict(row) for row in found.mappings()]


def kept_sums(store: Store) -> dict[tuple[object, ...], tuple[object, ...]]:
    with store.engine.connect() as connection:
        rows = connection.execute(sa.select(*(getattr(tables.CallTotal, name) for name in totals.COLUMNS)))
        return {tuple(row[:4]): tuple(row[4:]) for row in rows}


def sums_of_rows(store: Store) -> dict[tuple[object, ...], tuple[object, ...]]:
    closed = tables.Round.status == "closed"
    query = totals.grouped_calls().join(tables.Round, tables.Round.id == tables.JudgeCall.round_id).where(closed)
    with store.engine.connect() as connection:
        return {tuple(row[:4]): tuple(row[4:]) for row in connection.execute(query)}


def check(store: Store) -> None:
    rows = {**round_summary._FIRST_COLUMNS, **round_summary.LATER_COLUMNS}
    for kept, counted in zip(summary(store, None), summary(store, rows), strict=True):
        assert kept == pytest.approx(counted)
    kept, counted = kept_sums(store), sums_of_rows(store)
    assert kept.keys() == counted.keys()
    for key in kept:
        assert [float(value) for value in kept[key]] == pytest.approx([float(value) for value in counted[key]])
    for name in store.experiments.names():
        spent = store.calls.spending(name)
        assert spent.usd == pytest.approx(spent_by_rows(store, name))
        shown = next(row["cost_usd"] for row in store.upkeep.experiments() if row["experiment"] == name)
        assert spent.usd == pytest.approx(shown)


def spent_by_rows(store: Store, experiment: str) -> float:
    query = sa.select(sa.func.coalesce(sa.func.sum(tables.JudgeCall.cost_usd), 0.0)).join(tables.Experiment)
    with store.engine.connect() as connection:
        return float(connection.scalar(query.where(tables.Experiment.name == experiment)))


class Writer:
    """Writes to the store at random, as runs, their late replies and rejudgements do."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store, self.draw = store, random.Random(seed)
        self.rounds: list[Round] = []
        self.open: dict[str, Round] = {}

    def write(self) -> None:
        name = self.draw.choice(["trial", "other"])
        if name not in self.open:
            start = 4 * len(self.rounds)
            self.open[name] = opened(self.store, experiment=name, drawn=prompts(start, start + 4), held_out=())
            self.rounds.append(self.open[name])
        kinds: list[Callable[[Round], None]] = [
            self.answer,
            self.call,
            self.call,
            self.call,
            self.set_aside,
            self.close,
        ]
        self.draw.choice(kinds)(self.open[name])

    def answer(self, round_: Round) -> None:
        asked = self.draw.choice(round_.plan.prompts)
        made = answers(round_, asked)
        self.store.candidates.add(round_.id, made)
        if self.draw.random() < 0.7:
            self.store.rankings.add(round_.id, [ranked(made)])
        else:
            self.store.rankings.mark_unjudged(round_.id, asked.id, "no verdict")

    def call(self, round_: Round) -> None:
        """Record calls of this round, or of any, closed or not; some fail, and may be recorded again anywhere."""
        late = self.draw.random() < 0.4
        target = self.draw.choice(self.rounds) if late else round_
        purpose = "rejudge" if late and self.draw.random() < 0.5 else "rank"
        numbers = self.draw.sample(range(30), 3)
        failed = {number for number in numbers if self.draw.random() < 0.5}
        outcomes = [
            CallOutcome(call(number, purpose), reply(number / 7), "no answer" if number in failed else None)
            for number in numbers
        ]
        self.store.calls.record(target.id, outcomes)

    def set_aside(self, round_: Round) -> None:
        self.store.prompts.set_aside(round_.id, self.draw.choice(round_.plan.prompts).id, "too long")

    def close(self, round_: Round) -> None:
        verdict = self.draw.choice(["accepted", "rolled_back", "abandoned"])
        self.store.rounds.close(round_.id, "me", verdict, "")
        del self.open[round_.plan.experiment]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_totals_agree_with_the_rows_after_any_writes(store: Store, seed: int) -> None:
    """A total that missed a late reply would show a cost that no one can account for."""
    writer = Writer(store, seed)
    for step in range(90):
        writer.write()
        if step % 6 == 5:
            check(store)
    assert len(kept_sums(store)) > 2
    assert {row["verdict"] for row in store.history.summaries()} >= {None, "accepted"} or len(writer.rounds) > 3


def test_a_reply_that_comes_after_the_end_of_a_round_is_counted(store: Store) -> None:
    made = opened(store)
    store.calls.record_reply(made.id, call(0), reply(0.5))
    store.rounds.close(made.id, "me", "accepted", "")
    store.calls.record_reply(made.id, call(1), reply(0.25))
    assert store.history.summaries("trial")[0]["cost_usd"] == 0.75
    check(store)


def test_a_failed_call_that_a_later_round_asks_again_moves_there_with_its_cost(store: Store) -> None:
    first = opened(store)
    store.calls.record_failure(first.id, call(0), "cut off", reply(0.5))
    store.rounds.close(first.id, "me", "rolled_back", "")
    second = opened(store, drawn=prompts(4, 8), held_out=())
    store.calls.record_reply(second.id, call(0), reply(0.25))
    assert [row["cost_usd"] for row in store.history.summaries("trial")] == [0.0, 0.75]
    check(store)


def test_rejudging_a_closed_round_counts_for_the_experiment_not_for_the_round(store: Store) -> None:
    made = opened(store)
    store.rounds.close(made.id, "me", "accepted", "")
    store.calls.record_reply(made.id, call(0, "rejudge"), reply(0.5))
    assert store.history.summaries("trial")[0]["cost_usd"] == 0.0
    assert store.calls.spending("trial").usd == 0.5
    check(store)
