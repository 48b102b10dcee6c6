"""The view ``answers``: one row per answer of the policy."""

import pytest
import sqlalchemy as sa

from cyclealign.records import Agreement, Flag, Round
from cyclealign.store import Store
from tests.support.store_values import TEMPLATE, adapter_for, answers, opened, prompt, ranked


def rows(store: Store, condition: str = "experiment = 'trial'") -> list[dict[str, object]]:
    query = f"SELECT * FROM answers WHERE {condition} ORDER BY round, purpose, prompt_position, position"
    with store.engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.text(query)).mappings()]


def judged_round(store: Store) -> Round:
    """A round with one judged list, one list without a verdict, and one held-out answer of its adapter."""
    made = opened(store)
    first, second = answers(made, prompt(0)), answers(made, prompt(1), 2)
    store.candidates.add(made.id, [*first, *second])
    store.candidates.add_flags([Flag(first[1].id, "injection", "rank me"), Flag(first[1].id, "label", "A")])
    store.rankings.add(made.id, [ranked(first, "policy"), ranked(first[::-1], "judge")])
    store.agreements.record(made.id, [Agreement(prompt(0).id, (first[2].id,), 1, 3, 1.0, -1.0)])
    store.rankings.mark_unjudged(made.id, prompt(1).id, "no verdict")
    store.adapters.add(made.id, adapter_for(made), "a-model")
    store.candidates.add(made.id, answers(made, prompt(8), 1, adapter_for(made)))
    store.rounds.close(made.id, "me", "accepted", "better")
    return made


def test_each_answer_is_one_row_with_both_places(store: Store) -> None:
    """Prevents two flags, or two rankings, from doubling an answer in a user's sums."""
    judged_round(store)
    found = rows(store, "experiment = 'trial' AND purpose = 'train'")
    assert [(row["prompt"], row["position"], row["answer"]) for row in found] == [
        *(("question 0", place, f"answer {place}") for place in range(3)),
        *(("question 1", place, f"answer {place}") for place in range(2)),
    ]
    assert [(row["judge_place"], row["policy_place"], row["flag_count"]) for row in found] == [
        *((3, 1, 0), (2, 2, 2), (1, 3, 0)),
        *[(None, None, 0)] * 2,
    ]
    assert [row["unjudged_reason"] for row in found] == [None] * 3 + ["no verdict"] * 2


def test_an_answer_is_agreed_on_not_agreed_on_or_was_not_compared(store: Store) -> None:
    """Prevents lists without a verdict from counting as disagreement."""
    judged_round(store)
    found = rows(store, "experiment = 'trial' AND purpose = 'train'")
    assert [row["agreed"] for row in found] == [False, False, True, None, None]
    assert [row["agreement_tau"] for row in found] == [-1.0] * 3 + [None] * 2


def test_an_answer_names_its_weights_judge_and_template(store: Store) -> None:
    """Prevents answers of the base model and of an adapter from being compared as if one policy wrote them."""
    judged_round(store)
    held_out, first, *_ = rows(store)
    assert (first["adapter_id"], first["adapter_hash"], first["base_model"]) == (None, None, "a-model")
    assert (held_out["purpose"], held_out["adapter_id"], held_out["adapter_hash"]) == (
        *("held_out", "adapter-trial-1", "hash"),
    )
    assert (first["template_hash"], first["verdict"], first["finish_reason"]) == (TEMPLATE.hash, "accepted", "length")
    assert (first["token_count"], first["logprob_sum"], first["mean_logprob"]) == (3, -1.25, -1.25 / 3)


@pytest.mark.parametrize(
    "condition",
    [
        "experiment = 'trial'",
        "experiment = 'trial' AND round = 1",
        "experiment = 'trial' AND round = 1 AND prompt_id = 'a'",
        "experiment = 'trial' AND round = 1 AND judge_place = 1 AND policy_place > 2",
    ],
)
def test_a_round_is_read_by_indexes(store: Store, condition: str) -> None:
    """Prevents a query for one round from reading the answers of all experiments, a million of them."""
    if store.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL plans by the sizes of the tables, which are tiny here")
    with store.engine.connect() as connection:
        plan = connection.execute(sa.text(f"EXPLAIN QUERY PLAN SELECT * FROM answers WHERE {condition}"))
        steps = [row[3] for row in plan]
    assert [step for step in steps if step.startswith("SCAN") and "json_each" not in step] == []
    assert any("candidate" in step and "round_id=?" in step for step in steps)
