"""Prompt sets: nothing twice, nothing half imported, nothing drawn twice."""

import pytest

from cyclealign.errors import NoSuchExperiment
from cyclealign.records import LabelledList, Prompt
from cyclealign.store import Store
from tests.support.store_values import answers, opened, prompt, prompts


def unused(store: Store, experiment: str = "trial") -> list[Prompt]:
    return list(store.draws.unused("set", experiment, seed=0, number=1))


def test_counts_what_is_new_to_the_set(store: Store) -> None:
    rows = [(each, "train") for each in prompts(0, 3)]
    assert store.prompts.add("one", [*rows, rows[0]], "file") == 3
    assert store.prompts.add("one", [*rows, (prompt(3), "held_out")], "file") == 1
    assert store.prompts.add("two", rows, "file") == 3
    assert store.prompts.sets() == [("one", 3, 1, 0, 3), ("two", 3, 0, 0, 3)]


def test_a_prompt_keeps_its_split(store: Store) -> None:
    """A prompt that moved from held-out to train would be examined on what it was trained on."""
    store.prompts.add("set", [(prompt(0), "held_out")], "file")
    store.prompts.add("set", [(prompt(0), "train")], "file")
    assert list(store.draws.held_out("set", 0)) == [prompt(0)]
    assert unused(store) == []


def test_all_or_nothing(store: Store) -> None:
    """A bad row late in a file would leave half of the file imported."""
    with pytest.raises(Exception, match="split"):
        store.prompts.add("set", [(prompt(0), "train"), (prompt(1), "no such split")], "file")
    assert store.prompts.sets() == []


def test_labelled_lists_keep_their_order_and_are_never_drawn(store: Store) -> None:
    """Labels examine the judge: a labelled prompt that could be drawn would be trained on."""
    rows = [LabelledList(prompt(number), ("best", "middle", f"worst {number}"), "people") for number in range(3)]
    assert store.prompts.add_labelled_lists("set", rows) == 3
    assert store.prompts.add_labelled_lists("set", rows) == 0
    assert sorted(store.prompts.labelled_lists("set"), key=lambda row: row.id) == sorted(rows, key=lambda row: row.id)
    assert unused(store) == []


def test_unused_are_those_that_no_round_has_drawn_whatever_its_verdict(store: Store) -> None:
    """A rolled-back round's prompts, drawn again, would be ranked by a judge that has seen their demonstrations."""
    store.prompts.add("set", [(each, "train") for each in prompts(0, 6)], "file")
    for number, verdict in enumerate(("accepted", "rolled_back")):
        made = opened(store, drawn=prompts(2 * number, 2 * number + 2), held_out=())
        store.candidates.add(made.id, answers(made, prompt(2 * number)))
        store.rounds.close(made.id, "me", verdict, "")
    opened(store, drawn=[prompt(4)], held_out=())
    assert unused(store) == [prompt(5)]
    assert len(unused(store, "other")) == 6


def test_a_round_that_was_refused_before_anything_was_answered_has_used_no_prompts(store: Store) -> None:
    """A judge that is refused every night would eat up the whole set, and a retried run would end well on a refusal."""
    store.prompts.add("set", [(each, "train") for each in prompts(0, 4)], "file")
    refused = opened(store, owner="host/run", drawn=prompts(0, 2), held_out=())
    store.rounds.close(refused.id, "host/run", "rolled_back", "refused before training")
    assert len(unused(store)) == 4
    assert store.rounds.count_closed("trial", "run") == store.rounds.count_closed("trial") == 0
    again = opened(store, owner="host/run", drawn=prompts(0, 2), held_out=())
    store.candidates.add(again.id, answers(again, prompt(0)))
    store.rounds.close(again.id, "host/run", "rolled_back", "worse")
    assert len(unused(store)) == 2
    assert store.rounds.count_closed("trial", "run") == store.rounds.count_closed("trial") == 1
    assert store.rounds.count_closed("trial", "another-run") == store.rounds.count_closed("other") == 0


def test_unknown_set_names_the_known_ones(store: Store) -> None:
    store.prompts.add("demo", [], "file")
    with pytest.raises(NoSuchExperiment, match=r"'dmeo' \(known: demo\).*cyclealign prompts import"):
        store.prompts.labelled_lists("dmeo")


def test_sizes_are_those_of_the_rows(store: Store) -> None:
    """The sizes are kept with the set: one that is wrong would promise rounds that get no prompt."""
    rows = [(prompt(number), "held_out" if number % 3 == 0 else "train") for number in range(12)]
    store.prompts.add("one", [*rows[:8], *rows[:5]], "file")
    store.prompts.add_source("one", rows[4:], [LabelledList(prompt(0), ("a", "b"), "people")], "file")
    store.prompts.add("two", rows[:2], "file")
    assert store.prompts.sets() == [("one", 8, 4, 1, 8), ("two", 1, 1, 0, 1)]
    opened(store, drawn=[prompt(1), prompt(2)], held_out=[prompt(0)])
    assert [(row.name, row.unused) for row in store.prompts.sets("trial")] == [("one", 6), ("set", 0), ("two", 0)]
    assert [row.unused for row in store.prompts.sets("other")] == [8, 3, 1]
