"""A round is one transaction, held by one run at a time."""

import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from cyclealign.errors import ExperimentBusy, LeaseLost, NoSuchExperiment, StoreError
from cyclealign.records import Agreement, Demonstration, Message, Metric, Round, Template, owner_in_words
from cyclealign.store import Store
from tests.support.store_values import adapter_for, answers, demonstration, opened, plan, prompt, prompts, ranked

EXPIRED = -1.0


def at_once(work: Callable[[int], object], count: int) -> list[object]:
    """Run ``work(0 .. count - 1)`` in threads that start together; return what each returned or raised."""
    gate = threading.Barrier(count)
    results: list[object] = [None] * count

    def run(place: int) -> None:
        gate.wait()
        try:
            results[place] = work(place)
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def open_with(store: Store, method: str) -> Round:
    store.prompts.add("set", [(prompt(0), "train")], "test")
    given = plan(drawn=[prompt(0)])
    given.settings["training"] = {"method": method}
    return store.rounds.open(given, "me", 600)


def test_the_method_is_that_of_rounds_that_count(store: Store) -> None:
    """Prevents adapters on whole weights, and an experiment that is bound to the method of a round that was refused."""
    assert store.experiments.training_method("trial") is None
    refused = open_with(store, "full")
    assert store.experiments.training_method("trial") == "full"
    store.rounds.close(refused.id, "me", "rolled_back", "the judge was not to be trusted")
    assert store.experiments.training_method("trial") is None
    for method in ("lora", "full"):
        store.rounds.close(open_with(store, method).id, "me", "accepted", "better")
        assert store.experiments.training_method("trial") == "lora"


def test_plan_comes_back_exactly(store: Store) -> None:
    """A resumed round that saw other prompts, seeds or demonstrations would be another round under the same number."""
    static = Demonstration.of("asked", ("better", "worse"), "static")
    turns = (Message(role="user", content="Hi."), Message(role="assistant", content="Hi!"))
    shown = (static, Demonstration.of("q", ("a", "b"), "dynamic", 1 / 3, 0.1 + 0.2, promoted_round=4, turns=turns))
    versions = (Template("rank", "same text"), Template("other", "same text"))
    made = opened(store, drawn=prompts(0, 4)[::-1], templates=versions, demonstrations=shown)
    with Store.open(store.engine.url.render_as_string(hide_password=False)) as second:
        assert second.rounds.unfinished("trial") == made
    assert made.plan == plan(
        drawn=prompts(0, 4)[::-1], held_out=prompts(8, 10), templates=versions, demonstrations=shown
    )


def test_first_run_sees_settings_as_a_resumed_one_does(store: Store) -> None:
    """JSON turns tuples into lists: a value that changes on resuming would change the round."""
    store.prompts.add("set", [(prompt(0), "train")], "test")
    given = plan(drawn=[prompt(0)])
    given.settings["sizes"] = (1, 2)
    made = store.rounds.open(given, "me", 60)
    assert made.plan.settings["sizes"] == [1, 2]
    assert store.rounds.unfinished("trial") == made


def test_no_open_round(store: Store) -> None:
    assert store.rounds.unfinished("trial") is None
    store.rounds.close(opened(store).id, "me", "rolled_back", "worse")
    assert store.rounds.unfinished("trial") is None


def test_numbers_go_on_and_the_parent_is_the_last_accepted_adapter(store: Store) -> None:
    """A rolled-back adapter as parent would carry on the very change that was refused."""
    assert store.rounds.last_kept("trial") == (0, None)
    verdicts = ("rolled_back", "accepted", "rolled_back", "accepted")
    rounds = []
    for verdict in verdicts:
        rounds.append(opened(store))
        store.adapters.add(rounds[-1].id, adapter_for(rounds[-1]), "a-model")
        store.rounds.close(rounds[-1].id, "me", verdict, "")
    last = opened(store)
    assert [each.number for each in (*rounds, last)] == [1, 2, 3, 4, 5]
    parents = [each.parent and each.parent.id for each in (*rounds, last)]
    assert parents == [None, None, "adapter-trial-2", "adapter-trial-2", "adapter-trial-4"]
    assert store.rounds.last_kept("trial") == (4, adapter_for(rounds[3]))


def test_a_round_accepted_without_training_keeps_its_parent(store: Store) -> None:
    """The next round would fall back to the base model, and lose all training before."""
    first = opened(store)
    kept = store.adapters.add(first.id, adapter_for(first), "a-model")
    store.rounds.close(first.id, "me", "accepted", "")
    store.rounds.close(opened(store).id, "me", "accepted", "nothing to learn")
    assert opened(store).parent == kept
    assert store.rounds.last_kept("trial") == (2, kept)


def test_experiments_do_not_meet(store: Store) -> None:
    first = opened(store, experiment="one")
    store.adapters.add(first.id, adapter_for(first), "a-model")
    store.rounds.close(first.id, "me", "accepted", "")
    other = opened(store, experiment="two")
    assert (other.number, other.parent) == (1, None)


@pytest.mark.parametrize("experiment", ["new", "old"])
def test_only_one_of_many_threads_opens_a_round(store: Store, experiment: str) -> None:
    """Two open rounds of one number would each train, and each count."""
    store.prompts.add("set", [(each, "train") for each in prompts(0, 2)], "test")
    if experiment == "old":
        store.rounds.close(opened(store).id, "me", "accepted", "")
    results = at_once(lambda place: store.rounds.open(plan(drawn=prompts(0, 2)), f"run {place}", 60), 6)
    winners = [result for result in results if isinstance(result, Round)]
    losers = [result for result in results if isinstance(result, ExperimentBusy)]
    assert (len(winners), len(losers)) == (1, 5)
    assert store.rounds.unfinished("trial") == winners[0]


def test_busy_says_who_until_when_and_what_to_do(store: Store) -> None:
    made = opened(store, owner="host-a:41")
    for attempt in (
        lambda: opened(store),
        lambda: store.rounds.take_over(made.id, "me", 60, lambda owner: True),
    ):
        with pytest.raises(
            ExperimentBusy, match=r"Round 1 of experiment 'trial' is held by host-a:41 until .* UTC"
        ) as e:
            attempt()
        assert "rerun the same command" in str(e.value)


def test_a_failed_opening_leaves_nothing(store: Store) -> None:
    """A round with half of its prompts would be resumed as if that were all."""
    with pytest.raises(Exception, match="round_prompt"):
        store.rounds.open(plan(drawn=prompts(0, 3)), "me", 60)
    assert store.history.summaries() == []
    assert store.rounds.unfinished("trial") is None


@pytest.mark.parametrize("holder_ends", ["expired", "dead", "was me"])
def test_a_free_round_is_taken_over(store: Store, holder_ends: str) -> None:
    owner = "me" if holder_ends == "was me" else "other"
    made = opened(store, owner=owner, lease_seconds=EXPIRED if holder_ends == "expired" else 600)
    asked = []
    store.rounds.take_over(made.id, "me", 600, lambda holder: bool(asked.append(holder)))
    assert asked == (["other"] if holder_ends == "dead" else [])
    store.rounds.close(made.id, "me", "accepted", "")


def test_only_one_of_many_takes_over(store: Store) -> None:
    """Two runs that both found the lease expired would both go on with the round."""
    made = opened(store, owner="gone", lease_seconds=EXPIRED)
    results = at_once(lambda place: store.rounds.take_over(made.id, f"run {place}", 600, lambda owner: True), 6)
    assert sorted(type(result).__name__ for result in results) == ["ExperimentBusy"] * 5 + ["NoneType"]


def test_a_stale_report_of_death_takes_nothing(store: Store) -> None:
    """Between asking whether the holder lives and taking its round, a third run may have taken it."""
    made = opened(store, owner="dying")

    def dies_as_another_takes(holder: str) -> bool:
        store.rounds.take_over(made.id, "quicker", 600, lambda owner: False)
        return False

    with pytest.raises(ExperimentBusy, match="quicker"):
        store.rounds.take_over(made.id, "me", 600, dies_as_another_takes)


def test_renewing_keeps_others_out(store: Store) -> None:
    made = opened(store, lease_seconds=EXPIRED)
    store.rounds.renew_lease(made.id, "me", 600)
    with pytest.raises(ExperimentBusy):
        store.rounds.take_over(made.id, "other", 600, lambda owner: True)
    with pytest.raises(LeaseLost, match="by me"):
        store.rounds.renew_lease(made.id, "other", 600)


def test_a_second_process_steals_an_expired_lease_and_the_first_cannot_close(store: Store) -> None:
    """The first run, waking up, would commit a round that the second is still working on."""
    made = opened(store, owner="first", lease_seconds=EXPIRED)
    store.adapters.add(made.id, adapter_for(made), "a-model")
    store.demonstrations.propose(made.id, [(demonstration(0), prompt(0).id)], [])
    code = (
        "import sys\nfrom cyclealign.store import Store\n"
        "with Store.open(sys.argv[1]) as store:\n"
        "    store.rounds.take_over(store.rounds.unfinished('trial').id, 'second', 600, lambda owner: True)"
    )
    url = store.engine.url.render_as_string(hide_password=False)
    subprocess.run([sys.executable, "-c", code, url], check=True)
    with pytest.raises(LeaseLost, match="taken over by second"):
        store.rounds.renew_lease(made.id, "first", 600)
    with pytest.raises(LeaseLost, match="taken over by second"):
        store.rounds.close(made.id, "first", "accepted", "")
    assert store.demonstrations.active("trial") == []
    assert store.rounds.last_kept("trial") == (0, None)
    assert store.history.summaries("trial")[0]["status"] == "open"
    store.rounds.close(made.id, "second", "accepted", "")
    assert store.demonstrations.active("trial") != []
    assert store.rounds.last_kept("trial") == (1, adapter_for(made))


def test_only_one_verdict(store: Store) -> None:
    """A round closed twice could be accepted by one run and rolled back by another."""
    made = opened(store)
    results = at_once(lambda place: store.rounds.close(made.id, "me", ("accepted", "rolled_back")[place % 2], ""), 4)
    assert sorted(type(result).__name__ for result in results) == ["LeaseLost"] * 3 + ["NoneType"]
    with pytest.raises(LeaseLost, match="finished"):
        store.rounds.renew_lease(made.id, "me", 60)
    with pytest.raises(ExperimentBusy, match="finished"):
        store.rounds.take_over(made.id, "me", 60, lambda owner: False)


def test_what_a_closed_round_rests_on_is_never_written_again(store: Store) -> None:
    """A run that lost its lease and wakes up late would change a round that was accepted without those changes."""
    made = opened(store)
    made_answers = answers(made, prompt(0))
    store.candidates.add(made.id, made_answers)
    store.rounds.close(made.id, "me", "accepted", "")
    late = (
        lambda: store.demonstrations.propose(made.id, [(demonstration(0), prompt(0).id)], []),
        lambda: store.adapters.add(made.id, adapter_for(made), "a-model"),
        lambda: store.metrics.record(made.id, [Metric("win_rate", 1.0)]),
        lambda: store.candidates.add(made.id, answers(made, prompt(1))),
        lambda: store.rankings.add(made.id, [ranked(made_answers)]),
        lambda: store.agreements.record(made.id, [Agreement(prompt(0).id, (), 0, 3, 1.0, 0.0)]),
        lambda: store.prompts.set_aside(made.id, prompt(0).id, "late"),
    )
    for write in late:
        with pytest.raises(LeaseLost):
            write()
    assert store.demonstrations.active("trial") == []
    assert store.metrics.of_round(made.id) == {}


def test_unknown_round(store: Store) -> None:
    for question in (
        lambda: store.rounds.take_over(77, "me", 60, lambda owner: True),
        lambda: store.rounds.close(77, "me", "accepted", ""),
        lambda: store.candidates.add(77, []),
    ):
        with pytest.raises(NoSuchExperiment, match="77"):
            question()


def test_an_adapter_id_without_its_round_is_refused(store: Store) -> None:
    """The second experiment's row would be taken for a repetition, and its round left without an adapter."""
    first, second = opened(store, experiment="one"), opened(store, experiment="two")
    kept = store.adapters.add(first.id, adapter_for(first), "a-model")
    with pytest.raises(StoreError, match="another round"):
        store.adapters.add(second.id, kept, "a-model")
    assert (store.adapters.of_round(first.id), store.adapters.of_round(second.id)) == (kept, None)


def test_a_round_has_one_adapter(store: Store) -> None:
    """Two runs that both trained would leave it open which of two adapters was accepted."""
    made = opened(store)
    kept = store.adapters.add(made.id, adapter_for(made), "a-model")
    other = type(kept)("other", "elsewhere", "hash 2", None)
    assert store.adapters.add(made.id, other, "a-model") == kept
    assert store.adapters.of_round(made.id) == kept


def test_rollbacks_count_from_the_last_accepted_round_without_refusals(store: Store) -> None:
    """An experiment would stop for rollbacks of long ago, or for a judge that was refused before it did anything."""
    verdicts = ("rolled_back", "accepted", "rolled_back", "refused", "rolled_back")
    counts = []
    for verdict in verdicts:
        round_ = opened(store)
        if verdict != "refused":
            store.candidates.add(round_.id, answers(round_, prompt(0)))
        store.rounds.close(round_.id, "me", "accepted" if verdict == "accepted" else "rolled_back", "")
        counts.append(store.rounds.rollbacks_in_a_row("trial"))
    assert counts == [1, 0, 1, 1, 2]


def test_a_refused_round_hides_no_abandoned_one(store: Store) -> None:
    """Prevents paid answers from being lost when the judge of the next round on the same prompts is refused."""
    for end in ("accepted", "abandoned", "refused", "abandoned"):
        round_ = opened(store)
        if end != "refused":
            store.candidates.add(round_.id, answers(round_, prompt(0)))
        store.rounds.close(round_.id, "me", "rolled_back" if end == "refused" else end, "")
    last = opened(store)
    assert [earlier.number for earlier in store.rounds.repeated(last)] == [4, 2]
    store.candidates.add(last.id, answers(last, prompt(0)))
    store.rounds.close(last.id, "me", "rolled_back", "worse")
    assert store.rounds.repeated(opened(store)) == []


def test_the_holder_of_a_lease_is_told_in_words():
    """Prevents a message that names the holder by an internal code."""
    assert owner_in_words("gpu/box/41/1700000000.25/a-run") == "process 41 on gpu/box"
    assert owner_in_words("gpu~0badcafe/41/12.25/a-run") == "process 41 on gpu"
    assert owner_in_words("host-a:41") == "host-a:41"


def test_the_last_accepted_round_is_not_an_undecided_one_that_was_kept(store):
    """Prevents weights that have not shown to be better from being exported or served."""
    assert store.rounds.last_accepted("trial") == (0, None)
    for verdict, kept in (("accepted", True), ("undecided", True), ("rolled_back", False)):
        round_ = opened(store)
        store.adapters.add(round_.id, adapter_for(round_), "a-model")
        store.rounds.close(round_.id, "me", verdict, "", kept=kept)
    number, adapter = store.rounds.last_accepted("trial")
    assert (number, adapter.id, store.rounds.last_kept("trial")[0]) == (1, "adapter-trial-1", 2)
