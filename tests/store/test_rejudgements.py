"""Rejudgements of a round and their cost, and the template version behind each label."""

from dataclasses import replace

from cyclealign.records import Metric, Rejudgement, Spending, Template
from cyclealign.store import Store
from tests.support.store_values import TEMPLATE, answers, call, opened, prompt, ranked, reply

OTHER = Template("rank", TEMPLATE.text + " ")
NOTHING = Spending()


def made(round_id: int, flips: Metric | None = None, cost: Spending = NOTHING) -> Rejudgement:
    tau = Metric("tau", 0.5, 0.25, 0.75, 2)
    return Rejudgement("r", round_id, "other", OTHER.hash, "none", 2, 1, 0, flips, tau, cost)


def test_a_rejudgement_is_told_of_once_however_often_it_is_made(store: Store) -> None:
    """The history would fill with copies of one comparison."""
    of = opened(store)
    store.templates.add(OTHER)
    store.rejudgements.record(made(of.id))
    store.rejudgements.record(made(of.id, Metric("flips", 0.5, 0.0, 1.0, 2), Spending(3, 30, 0.25)))
    (row,) = store.history.detail("trial", 1)["rejudgements"]
    assert (row["flips"], row["flips_high"], row["tau_low"], row["unread"]) == (0.5, 1.0, 0.25, 1)
    assert (row["calls"], row["tokens"], row["cost_usd"]) == (3, 30, 0.25)


def test_a_round_costs_what_it_cost_and_the_budget_counts_all(store: Store) -> None:
    """A look at another judge would make a finished round dearer, or slip past the budget."""
    of = opened(store)
    store.templates.add(OTHER)
    store.calls.record_reply(of.id, call(0), reply())
    before = store.history.summaries("trial")
    other = replace(call(1, "rejudge"), template_hash=OTHER.hash)
    store.calls.record_reply(of.id, other, reply(cost_usd=0.5))
    store.calls.record_failure(of.id, call(2, "rejudge"), "status 500")
    assert store.history.summaries("trial") == before
    assert store.calls.spending("trial") == Spending(3, 220, 0.75)
    assert store.rejudgements.spending("trial", of.id) == Spending(2, 110, 0.5)
    assert store.rejudgements.spending("trial", keys=[other.key, call(0).key]) == Spending(1, 110, 0.5)
    assert store.rejudgements.spending("trial", keys=[]) == NOTHING


def test_rejudging_takes_no_failed_request_away_from_its_round(store: Store) -> None:
    """The round would lose a call, and its cost, to a look at another judge; what only that look asked is taken."""
    of = opened(store)
    store.calls.record_failure(of.id, call(0), "status 500")
    store.calls.record_reply(of.id, call(0, "rejudge"), reply(cost_usd=0.5))
    assert [found.key for found, _ in store.calls.answered(of.id, "rank")] == [call(0).key]
    assert store.rejudgements.spending("trial") == NOTHING
    store.calls.record_failure(of.id, call(1, "rejudge"), "status 500")
    store.calls.record_reply(of.id, call(1), reply())
    assert len(store.calls.answered(of.id, "rank")) == 2


def test_labels_are_counted_by_the_version_that_made_them(store: Store) -> None:
    """Rounds without a label would be called stale, and other experiments' labels one's own."""
    for experiment, templates in (("trial", [TEMPLATE]), ("trial", [OTHER]), ("trial", [OTHER]), ("ant", [TEMPLATE])):
        of = opened(store, experiment=experiment, templates=templates)
        if of.number != 2:
            for number in range(of.number):
                given = answers(of, prompt(number))
                store.candidates.add(of.id, given)
                store.rankings.add(of.id, [ranked(given), ranked(given, "policy")])
        store.rounds.close(of.id, "me", "accepted", "")
    found = [(row.experiment, row.number, row.version, row.labels) for row in store.templates.label_versions("rank")]
    assert found == [("trial", 1, TEMPLATE.hash, 1), ("trial", 3, OTHER.hash, 3), ("ant", 1, TEMPLATE.hash, 1)]
    assert [row.folder for row in store.templates.label_versions("rank", "ant")] == ["prompts"]
    assert store.templates.label_versions("another") == []
