"""Judges with the behaviours of common providers, on the path that runs take: session, limits, client, database."""

from collections import Counter
from contextlib import ExitStack

import pytest

from cyclealign.errors import JudgeUnavailable
from cyclealign.judge.templates import load_template
from cyclealign.loop.session import RoundSession
from tests.judge.test_templates import PROMPTS
from tests.loop.test_judge_faults import LISTS, best_first, config_for, rank_all, rank_in
from tests.support.local_judge import LocalJudge
from tests.support.store_values import opened
from tests.support.stub_judges import STUB_JUDGES, THOUGHT_TOKENS, stub_judge

pytestmark = pytest.mark.slow


@pytest.fixture
def database(one_database):
    """One kind of database: what differs between them is tested elsewhere."""
    return one_database


@pytest.fixture
def round_(store, monkeypatch):
    monkeypatch.setenv("FAULTY_KEY", "sk-faulty-key")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return opened(store, templates=[load_template(PROMPTS, "rank")])


def orders(found):
    return [None if (ranking := each.ranking("x")) is None else ranking.order for each in found]


@pytest.mark.parametrize("behaviour", [name for name in STUB_JUDGES if name != "refusing"])
def test_a_judge_of_every_behaviour_ranks_all_lists_once(store, round_, behaviour):
    """Prevents a kind of provider with which nothing works, and replies that are paid for twice."""
    with stub_judge(behaviour) as judge:
        found = rank_all(store, round_, config_for(judge))
        again = rank_all(store, round_, config_for(judge))
    assert orders(found) == orders(again) == [best_first(number) for number in range(LISTS)]
    assert max(judge.answered.values()) == 1
    cut = sum(judge.answered.values()) - 2 * LISTS
    assert 0 < cut <= 8 if behaviour == "reasoning" else cut == 0  # replies that were under way: judge.concurrency


def test_what_a_reasoning_judge_refuses_is_remembered_by_the_next_run(store, round_):
    """Prevents refused and cut requests at every start: two each once, and none later."""
    with stub_judge("reasoning") as judge:
        rank_all(store, round_, config_for(judge), lists=1)
        assert (judge.refused, len(judge.bodies)) == (2, 2 + 2 + 2)
        other = opened(store, templates=[load_template(PROMPTS, "rank")], experiment="other")
        rank_all(store, other, config_for(judge, max_tokens=2 * THOUGHT_TOKENS), lists=1)
    assert (judge.refused, len(judge.bodies)) == (2, 6 + 2)


def test_lists_that_a_judge_refuses_stay_unjudged_with_its_words(store, round_):
    """Prevents a moderated prompt from ending the run, and an unjudged prompt without a reason."""
    with stub_judge("refusing") as judge:
        found = rank_all(store, round_, config_for(judge, retries=1))
    refused = [each for each in found if len(each.verdicts) < 2]
    assert {order for order, each in zip(orders(found), found, strict=True) if each not in refused} <= {
        best_first(number) for number in range(LISTS)
    }
    words = Counter(problem for each in refused for _, problem in each.problems)
    assert set(words) == {"The call failed: Status 403: This content was flagged", REFUSED}


REFUSED = "The call failed: The judge refused: I cannot compare these."


def test_a_judge_that_forbids_all_calls_is_asked_a_few_times(store, round_):
    """Prevents a futile request for every list; see test_attempts for the number."""
    with LocalJudge(status=lambda number: 403) as judge:
        with pytest.raises(JudgeUnavailable, match=r"scripted 403.*refuses the key in FAULTY_KEY"):
            rank_all(store, round_, config_for(judge))
        assert len(judge.bodies) < 12


def test_one_forbidden_list_does_not_end_a_run_in_which_an_earlier_step_was_answered(store, round_):
    """Prevents a round that never gets past a prompt which a firewall refuses, after its health check went well."""

    class Firewall(LocalJudge):
        def reply(self, raw):
            forbidden = len(self.bodies) >= 2
            status, body = super().reply(raw)
            return (404, {"error": {"message": "no endpoint"}}) if forbidden else (status, body)

    with Firewall() as judge, ExitStack() as stack:
        session = RoundSession(config_for(judge, retries=0), store, stack)
        assert orders(rank_in(session, round_, range(1))) == [best_first(0)]
        assert orders(rank_in(session, round_, range(1, 6))) == [None] * 5
    failed = store.history.detail("trial", 1)["failed_calls"]
    assert {call["error"] for call in failed} == {"Status 404: no endpoint"}
