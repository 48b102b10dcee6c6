"""Draws of prompts: reproducible, without repetition, a slice of a large set at a time."""

from collections.abc import Iterator
from itertools import islice

import pytest

from cyclealign.errors import NoSuchExperiment
from cyclealign.records import Prompt, content_id
from cyclealign.store import Store, draws
from tests.support.store_values import answers, opened, prompt, prompts

SIZE = 60


@pytest.fixture
def sliced(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with a set of 60 train and 20 held-out prompts, cut into 16 slices as a large set would be."""
    monkeypatch.setattr(draws, "MAX_SLICE", 8)
    rows = [(prompt(number), "held_out" if number % 4 == 3 else "train") for number in range(80)]
    store.prompts.add("set", rows, "file")
    return store


def ids(drawn: Iterator[Prompt], count: int | None = None) -> list[str]:
    return [each.id for each in islice(drawn, count)]


def test_a_small_set_is_drawn_in_the_order_of_earlier_versions(store: Store) -> None:
    """Another order would answer and judge other prompts with the same seed than an experiment that is under way."""
    store.prompts.add("set", [(each, "train") for each in prompts(0, 40)], "file")
    expected = sorted((each.id for each in prompts(0, 40)), key=lambda each: content_id("draw", 7, each))
    assert ids(store.draws.unused("set", "trial", seed=7, number=1)) == expected
    assert ids(store.draws.unused("set", "trial", seed=7, number=9)) == expected
    assert ids(store.draws.unused("set", "trial", seed=8, number=1)) != expected


def test_messages_come_back_exactly(store: Store) -> None:
    asked = Prompt.of(({"role": "system", "content": "Ä 漢 {{ x }} '\""}, {"role": "user", "content": "\n a \t"}))
    store.prompts.add("set", [(asked, "held_out")], "file")
    (found,) = store.draws.held_out("set", 0)
    assert (found, Prompt.of(found.messages).id) == (asked, asked.id)


def test_every_prompt_of_a_sliced_set_is_drawn_once(sliced: Store) -> None:
    """A slice that no prefix covers would never be trained on."""
    train = {each.id for number, each in enumerate(prompts(0, 80)) if number % 4 != 3}
    drawn = ids(sliced.draws.unused("set", "trial", seed=1, number=1))
    assert len(drawn) == len(set(drawn)) == SIZE
    assert set(drawn) == train
    assert len(ids(sliced.draws.held_out("set", 1))) == 20


def test_the_same_seed_gives_the_same_draw_and_others_give_others(sliced: Store) -> None:
    first = ids(sliced.draws.unused("set", "trial", seed=1, number=1), 10)
    assert ids(sliced.draws.unused("set", "other", seed=1, number=1), 10) == first
    assert ids(sliced.draws.unused("set", "trial", seed=2, number=1), 10) != first
    assert ids(sliced.draws.unused("set", "trial", seed=1, number=2), 10) != first


def test_held_out_prompts_are_the_same_in_every_round(sliced: Store) -> None:
    """Win rates of rounds on different prompts could not be compared."""
    first = ids(sliced.draws.held_out("set", 5), 6)
    opened(sliced, held_out=[], drawn=prompts(0, 1))
    assert ids(sliced.draws.held_out("set", 5), 6) == first


def test_rounds_never_repeat_a_prompt_until_the_set_is_used_up(sliced: Store) -> None:
    """A prompt that is drawn again is ranked by a judge that has seen its demonstration."""
    seen: list[str] = []
    for number in range(1, 8):
        drawn = list(islice(sliced.draws.unused("set", "trial", 3, number), 9))
        seen += [each.id for each in drawn]
        made = opened(sliced, drawn=drawn, held_out=())
        sliced.candidates.add(made.id, answers(made, drawn[0]))
        sliced.rounds.close(made.id, "me", "rolled_back" if number % 2 else "accepted", "")
    assert len(seen) == len(set(seen)) == SIZE
    assert ids(sliced.draws.unused("set", "trial", 3, 8)) == []
    assert len(ids(sliced.draws.unused("set", "other", 3, 8))) == SIZE


@pytest.mark.parametrize("verdict", ["rolled_back", "abandoned"])
def test_a_round_without_result_has_used_no_prompts(sliced: Store, verdict: str) -> None:
    """A judge that is refused every night would use up the whole set."""
    before = ids(sliced.draws.unused("set", "trial", 3, 1))
    made = opened(sliced, drawn=list(islice(sliced.draws.unused("set", "trial", 3, 1), 9)), held_out=())
    sliced.rounds.close(made.id, "me", verdict, "refused before anything was answered")
    assert sliced.rounds.next_number("trial") == (2, 1 if verdict == "abandoned" else 2)
    assert ids(sliced.draws.unused("set", "trial", 3, 1)) == before


def test_a_slice_holds_no_more_prompts_than_are_read_at_once() -> None:
    """A million prompts that are read to draw 250 took minutes and gigabytes."""
    for size, count in ((0, 1), (10_000, 1), (10_001, 16), (160_000, 16), (1_000_000, 256), (5_000_000, 4096)):
        assert len(draws.slices(size, (0,))) == count
    assert sorted(draws.slices(20_000, (0, 1))) == list("0123456789abcdef")
    assert draws.slices(20_000, (0, 1)) != draws.slices(20_000, (0, 2))


def test_an_unknown_set_names_the_known_ones(store: Store) -> None:
    store.prompts.add("demo", [], "file")
    for drawn in (store.draws.unused("dmeo", "trial", 0, 1), store.draws.held_out("dmeo", 0)):
        with pytest.raises(NoSuchExperiment, match=r"'dmeo' \(known: demo\).*cyclealign prompts import"):
            next(drawn)
