"""Demonstrations and templates are promoted or dropped with their round, never by halves."""

import itertools
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cyclealign.records import Template
from cyclealign.store import Store, Verdict
from tests.support.store_values import TEMPLATE, answers, demonstration, opened, prompt


def advance(
    store: Store, verdict: Verdict, promoted: tuple[int, ...] = (), retired: tuple[int, ...] = (), tau: float = 0.5
) -> int:
    """Open a round, propose, close it with the verdict; return its number."""
    made = opened(store)
    proposals = [(demonstration(number, tau), prompt(0).id) for number in promoted]
    store.demonstrations.propose(made.id, proposals, [demonstration(number).id for number in retired])
    store.rounds.close(made.id, "me", verdict, "")
    return made.number


def active(store: Store, experiment: str = "trial") -> list[str]:
    return [shown.question for shown in store.demonstrations.active(experiment)]


def test_newest_round_first_and_in_the_order_of_the_proposal(store: Store) -> None:
    advance(store, "accepted", (2, 1))
    advance(store, "accepted", (0,))
    assert active(store) == ["asked 0", "asked 2", "asked 1"]
    assert [shown.promoted_round for shown in store.demonstrations.active("trial")] == [2, 1, 1]


def test_a_proposal_of_an_open_round_does_not_count(store: Store) -> None:
    """The judge would be shown, in this round, what this round made."""
    advance(store, "accepted", (1,))
    made = opened(store)
    store.demonstrations.propose(made.id, [(demonstration(2), prompt(0).id)], [demonstration(1).id])
    assert active(store) == ["asked 1"]


def test_what_will_be_in_use_is_what_is_in_use_once_the_round_is_accepted(store: Store) -> None:
    """Another set would be measured for the next round than the one that it shows."""
    advance(store, "accepted", (1, 2, 3))
    made = opened(store)
    proposals = [(demonstration(number, tau=0.75), prompt(0).id) for number in (4, 2)]
    store.demonstrations.propose(made.id, proposals, [demonstration(1).id])
    foreseen = store.demonstrations.active("trial", if_accepted=made.id)
    assert [shown.question for shown in foreseen] == ["asked 4", "asked 2", "asked 3"]
    assert active(store) == ["asked 1", "asked 2", "asked 3"]
    store.rounds.close(made.id, "me", "accepted", "")
    assert store.demonstrations.active("trial") == foreseen


def test_a_rolled_back_round_neither_promotes_nor_retires(store: Store) -> None:
    advance(store, "accepted", (1,))
    advance(store, "rolled_back", (2,), retired=(1,))
    assert active(store) == ["asked 1"]
    advance(store, "accepted", (), retired=(1,))
    assert active(store) == []


def test_the_same_demonstration_again_after_a_rollback(store: Store) -> None:
    """Its row is there already: taken for a repetition, it would never be shown."""
    advance(store, "rolled_back", (1,), tau=0.25)
    advance(store, "accepted", (1,), tau=0.75)
    (shown,) = store.demonstrations.active("trial")
    assert (shown.question, shown.tau, shown.promoted_round) == ("asked 1", 0.75, 2)


def test_the_same_demonstration_again_after_its_retirement(store: Store) -> None:
    advance(store, "accepted", (1,))
    advance(store, "accepted", (), retired=(1,))
    advance(store, "accepted", (1,))
    assert [shown.promoted_round for shown in store.demonstrations.active("trial")] == [3]


def test_proposing_again_replaces_the_proposal(store: Store) -> None:
    """A resumed round would promote both what it meant before the crash and what it means now."""
    advance(store, "accepted", (5, 6))
    made = opened(store)
    for promoted, retired in ((1, 5), (2, 6)):
        store.demonstrations.propose(
            made.id, [(demonstration(promoted), prompt(0).id)] * 2, [demonstration(retired).id] * 2
        )
    store.rounds.close(made.id, "me", "accepted", "")
    assert active(store) == ["asked 2", "asked 5"]


def test_experiments_do_not_share_demonstrations(store: Store) -> None:
    """Two experiments find the same demonstration: one may retire it, the other goes on showing it."""
    for experiment in ("one", "two"):
        made = opened(store, experiment=experiment)
        store.demonstrations.propose(made.id, [(demonstration(1), prompt(0).id)], [])
        store.rounds.close(made.id, "me", "accepted", "")
    made = opened(store, experiment="one")
    store.demonstrations.propose(made.id, [], [demonstration(1).id])
    store.rounds.close(made.id, "me", "accepted", "")
    assert (active(store, "one"), active(store, "two")) == ([], ["asked 1"])


class Step(NamedTuple):
    verdict: Verdict
    promoted: frozenset[int]
    retired: frozenset[int]


few = st.frozensets(st.integers(0, 3), max_size=3)
lines_of_rounds = st.lists(st.builds(Step, st.sampled_from(("accepted", "rolled_back")), few, few), max_size=6)
names = (f"line {number}" for number in itertools.count())


@pytest.mark.slow
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=lines_of_rounds)
def test_any_line_of_rounds_leaves_what_a_simple_model_predicts(store: Store, steps: list[Step]) -> None:
    """Whatever is accepted or rolled back in whatever order, the active set is that of the accepted rounds alone."""
    experiment = next(names)
    store.prompts.add("set", [(prompt(0), "train")], "test")
    expected: dict[str, int] = {}
    for number, step in enumerate(steps, 1):
        made = opened(store, experiment=experiment)
        promoted = [demonstration(each) for each in sorted(step.promoted)]
        retired = [demonstration(each) for each in sorted(step.retired)]
        known = [each.id for each in retired if each.id in expected or each in promoted]
        store.demonstrations.propose(made.id, [(each, prompt(0).id) for each in promoted], known)
        store.rounds.close(made.id, "me", step.verdict, "")
        if step.verdict == "accepted":
            expected.update((each.id, number) for each in promoted)
            for gone in known:
                expected.pop(gone, None)
    found = {shown.id: shown.promoted_round for shown in store.demonstrations.active(experiment)}
    assert found == expected


@pytest.mark.parametrize("name", ["rank", "other"])
def test_template_version_of_the_last_accepted_round(store: Store, name: str) -> None:
    """A version that came with a rolled-back round would outlive the rollback."""
    versions = [Template(name, f"version {number}") for number in range(3)]
    verdicts: tuple[Verdict, ...] = ("accepted", "rolled_back", "rolled_back", "accepted")
    used = (versions[0], versions[1], versions[0], versions[2])
    for verdict, version in zip(verdicts[:3], used, strict=False):
        made = opened(store, templates=[version])
        store.candidates.add(made.id, answers(made, prompt(0)))
        store.rounds.close(made.id, "me", verdict, "")
    assert store.templates.last_accepted("trial", name) == versions[0]
    assert store.templates.rolled_back("trial", name) == {versions[1].hash}
    store.rounds.close(opened(store, templates=[versions[2]]).id, "me", "accepted", "")
    assert store.templates.last_accepted("trial", name) == versions[2]
    assert store.templates.last_accepted("trial", "unknown") is None


def test_a_round_that_was_refused_drops_no_template(store: Store) -> None:
    """Prevents the old template from coming back unasked once the judge, which was found unfit, is another one."""
    made = opened(store, templates=[Template("rank", "edited")])
    store.rounds.close(made.id, "me", "rolled_back", "refused before training")
    assert store.templates.rolled_back("trial", "rank") == set()


def test_no_template_is_accepted_before_a_round_is(store: Store) -> None:
    opened(store)
    assert store.templates.last_accepted("trial", TEMPLATE.name) is None
    assert store.templates.rolled_back("trial", TEMPLATE.name) == set()
