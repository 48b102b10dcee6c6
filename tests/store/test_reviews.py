"""Lists that people are asked to rank, as the store keeps them."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from cyclealign.errors import LeaseLost, NoSuchExperiment
from cyclealign.records import Doubt, Round
from cyclealign.store import Store
from tests.support.store_values import answers, opened, prompt, prompts, ranked


def asked(store: Store, experiment: str = "trial", lists: int = 2) -> Round:
    """A round whose first lists are put to people, after judge and policy have ranked them."""
    made = opened(store, experiment=experiment)
    for each in prompts(0, lists):
        given = answers(made, each)
        store.candidates.add(made.id, given)
        store.rankings.add(made.id, [ranked(given, "policy"), ranked(given[::-1], "judge", 0.5)])
    store.reviews.add(made.id, [Doubt(each.id, f"doubt {place}") for place, each in enumerate(prompts(0, lists))])
    return made


def ids(of_round: Round, number: int) -> list[str]:
    return [each.id for each in answers(of_round, prompt(number))]


def test_a_list_is_asked_for_once_and_keeps_what_became_of_it(store: Store) -> None:
    """Prevents a resumed round from asking people for a list again that they have ranked."""
    made = asked(store)
    assert store.reviews.answer(made.id, prompt(0).id, ids(made, 0))
    assert store.reviews.add(made.id, [Doubt(prompt(0).id, "again"), Doubt(prompt(2).id, "new")]) == 1
    found = store.reviews.find("trial", 1)
    assert [(each.prompt, each.status) for each in found] == [
        (prompt(0), "answered"),
        (prompt(1), "waiting"),
        (prompt(2), "waiting"),
    ]
    assert found[0].why == "doubt 0"
    assert found[0].answers == {each.id: each.text for each in answers(made, prompt(0))}


def test_the_first_verdict_counts(store: Store) -> None:
    """Prevents two people, at a form and in a terminal, from overwriting one another, and a skip from undoing both."""
    made = asked(store)
    first = ids(made, 0)
    assert store.reviews.answer(made.id, prompt(0).id, first)
    assert not store.reviews.answer(made.id, prompt(0).id, first[::-1])
    assert not store.reviews.skip(made.id, prompt(0).id)
    assert store.reviews.find("trial")[0].verdict == tuple(first)


def test_of_many_at_once_one_is_told_that_its_verdict_counts(store: Store) -> None:
    """Prevents two people from both being told that theirs is the gold label."""
    made = asked(store)
    with ThreadPoolExecutor(4) as people:
        told = list(people.map(lambda _: store.reviews.answer(made.id, prompt(0).id, ids(made, 0)), range(8)))
    assert told.count(True) == 1


def test_an_order_of_other_answers_is_refused(store: Store) -> None:
    """Prevents a gold label that names answers of another list, or leaves one out."""
    made = asked(store)
    for order in (ids(made, 1), ids(made, 0)[:2], [*ids(made, 0)[:2], ids(made, 0)[0]]):
        with pytest.raises(ValueError, match="same distinct ids"):
            store.reviews.answer(made.id, prompt(0).id, order)
    assert store.reviews.find("trial")[0].status == "waiting"


def test_only_verdicts_that_came_before_training_are_learnt(store: Store) -> None:
    """Prevents a history that says of a late verdict that the adapter was trained on it, or takes it back of one."""
    made = asked(store)
    store.reviews.answer(made.id, prompt(0).id, ids(made, 0))
    assert store.reviews.mark_learnt(made.id) == {prompt(0).id: tuple(ids(made, 0))}
    store.reviews.answer(made.id, prompt(1).id, ids(made, 1))
    store.rounds.close(made.id, "me", "accepted", "better")
    assert [each.learnt for each in store.reviews.find("trial")] == [True, False]
    with pytest.raises(LeaseLost):
        store.reviews.mark_learnt(made.id)
    first, second, third, *_ = [each["review"] for each in store.history.detail("trial", 1)["prompts"]]
    assert (first["learnt"], second["learnt"], third) == (True, False, None)


def test_what_people_ranked_are_labelled_lists_apart_from_those_of_the_set(store: Store) -> None:
    """Prevents lists that were chosen for their doubt from passing for a sample of all: the judge would look worse."""
    made = asked(store)
    store.reviews.skip(made.id, prompt(1).id)
    store.reviews.answer(made.id, prompt(0).id, ids(made, 0)[::-1])
    other = asked(store, experiment="other")
    store.reviews.answer(other.id, prompt(0).id, ids(other, 0)[::-1])
    (only,) = store.reviews.labelled_lists("set")  # the same texts in the same order, from two experiments
    assert (only.prompt, only.answers, only.source) == (prompt(0), ("answer 2", "answer 1", "answer 0"), "review")
    assert store.prompts.labelled_lists("set") == []
    assert store.reviews.labelled_lists("another set") == []


def test_a_round_is_found_by_its_number(store: Store) -> None:
    """Prevents a question about one round from being answered for another, and silence about one that is not there."""
    made = asked(store)
    store.rounds.close(made.id, "me", "accepted", "better")
    second = opened(store, drawn=prompts(4, 6))
    assert store.rounds.get("trial", 2) == second
    with pytest.raises(NoSuchExperiment, match=r"has no round 3 \(rounds: 1, 2\)"):
        store.rounds.get("trial", 3)
