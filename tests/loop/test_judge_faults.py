"""Every fault of a provider, in random mixtures, on the path that runs take: workshop, limits, client, database."""

import json
from collections import Counter
from contextlib import ExitStack

import pytest

from cyclealign.chat_api.client import request_parameters
from cyclealign.config import ExperimentConfig, JudgeSettings
from cyclealign.errors import JudgeUnavailable
from cyclealign.judge.methods import RankingMethod, rank
from cyclealign.judge.requests import PromptSpec, RankingTask
from cyclealign.judge.templates import load_template
from cyclealign.loop.session import RoundSession
from cyclealign.records import Spending
from tests.judge.test_templates import PROMPTS
from tests.support.faulty_judge import FAULTS, FaultyJudge
from tests.support.local_judge import most_words_first
from tests.support.store_values import opened

pytestmark = pytest.mark.slow

LISTS, ANSWERS = 24, 4


@pytest.fixture
def database(one_database):
    """One kind of database: what differs between them is tested elsewhere."""
    return one_database


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("FAULTY_KEY", "sk-faulty-key")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


def texts(number):
    """Answers of different worth: the more words, the better."""
    return {f"{number}-{place}": " ".join(f"word{each}" for each in range(place + 1)) for place in range(ANSWERS)}


def best_first(number):
    labelled = list(texts(number).items())
    return tuple(json.loads(most_words_first(labelled))["ranking"])


def config_for(judge, **changes):
    settings = {"concurrency": 8, "retries": 4, "backoff_seconds": 0.001, "timeout_seconds": 2.0, **changes}
    return ExperimentConfig(
        experiment="trial",
        judge=JudgeSettings(
            kind="openai",
            base_url=judge.url,
            model="faulty",
            api_key_variable="FAULTY_KEY",
            usd_per_million_prompt_tokens=1.0,
            **settings,
        ),
    )


def rank_all(store, round_, config, lists=LISTS):
    """The outcome for each list, in the order of the lists."""
    with ExitStack() as stack:
        return rank_in(RoundSession(config, store, stack), round_, range(lists))


def rank_in(session, round_, numbers):
    """The outcome for the lists of these numbers, as one step of a round."""
    template = load_template(PROMPTS, "rank")
    spec = PromptSpec(template, "faulty", request_parameters(session.config.judge), 0)

    def job(number):
        async def run(ask_judge):
            question = RankingTask(spec, "rank", f"list {number}", f"question {number}", texts(number))
            return await rank(ask_judge, question, RankingMethod("listwise", num_orders=2))

        return run

    return session.run_jobs(round_, "judge", [job(number) for number in numbers])


@pytest.mark.parametrize("seed", [1, 2])
def test_in_any_mixture_of_faults_every_list_is_ranked_or_named(store, key, seed):
    """Prevents a fault that becomes a ranking, a lost list, a verdict in a wrong place, and a reply paid twice."""
    made = opened(store, templates=[load_template(PROMPTS, "rank")])
    with FaultyJudge(0.3, seed) as judge:
        found = rank_all(store, made, config_for(judge))
        served, requests = Counter(judge.served), judge.requests
        assert judge.most <= 8
        again = rank_all(store, made, config_for(judge))
    assert len(found) == len(again) == LISTS
    for number, outcome in enumerate(found):
        ranking = outcome.ranking(f"list {number}")
        if ranking is None:
            assert outcome.problems, "unjudged, and nobody says why"
        else:
            assert ranking.order == best_first(number)
    assert sum(each.ranking("x") is not None for each in found) >= LISTS * 0.7
    assert max(judge.served.values()) == 1
    assert all(judge.served[each] == count for each, count in served.items())
    assert store.calls.spending("trial").calls == judge.requests >= requests
    assert set(judge.struck) - {"none"}


@pytest.mark.parametrize("fault", [each for each in FAULTS if each != "hang"])
def test_a_fault_that_never_ends_leaves_every_list_unjudged_and_ends(store, key, fault):
    """Prevents a run that hangs, and a default that stands for a verdict. (A 429 that never ends stops the run.)"""
    made = opened(store, templates=[load_template(PROMPTS, "rank")])
    with FaultyJudge(1.0, 0, (fault,)) as judge:
        config = config_for(judge, retries=1, max_busy_seconds=0.05)
        if fault.startswith("429"):
            with pytest.raises(JudgeUnavailable, match=r"judge\.max_busy_seconds"):
                rank_all(store, made, config)
            return
        assert all(each.ranking("x") is None and each.problems for each in rank_all(store, made, config))
    paid = fault in ("refusal", "doubled label", "missing label", "200 000 characters", "cut")
    assert (store.calls.spending("trial").tokens > 0) is paid


def test_a_judge_that_hangs_is_given_up_on(store, key):
    made = opened(store, templates=[load_template(PROMPTS, "rank")])
    with FaultyJudge(1.0, 0, ("hang",)) as judge:
        found = rank_all(store, made, config_for(judge, retries=0, timeout_seconds=0.05, concurrency=48))
    assert all(each.ranking("x") is None for each in found)


def test_a_provider_that_limits_its_rate_is_obeyed_and_all_is_judged(store, key):
    """Prevents a run that dies of 429s that waiting would have mended."""
    made = opened(store, templates=[load_template(PROMPTS, "rank")])
    with FaultyJudge(0.5, 3, ("429 with a time", "429")) as judge:
        found = rank_all(store, made, config_for(judge, retries=0))
    assert [each.ranking("x").order for each in found] == [best_first(number) for number in range(LISTS)]


def test_replies_are_shared_between_experiments_only_where_that_is_wanted(store, key):
    """Prevents a request that is paid for by each experiment, and one's money from being told as another's."""
    template = load_template(PROMPTS, "rank")
    first, other, third = (opened(store, templates=[template], experiment=name) for name in ("one", "other", "third"))
    with FaultyJudge(0.0, 0) as judge:
        rank_all(store, first, config_for(judge))
        found = rank_all(store, other, config_for(judge, share_replies=True))
        assert max(judge.served.values()) == 1
        rank_all(store, third, config_for(judge))
        assert min(judge.served.values()) == 2
    assert [each.ranking("x").order for each in found] == [best_first(number) for number in range(LISTS)]
    assert store.calls.spending("other") == Spending()
    assert len(store.calls.answered_keys("other")) == LISTS * 2
