"""Kinds of judge: each is one class and one entry in the registry."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, nullcontext
from typing import get_args

import pytest

from cyclealign.chat_api.batch import BatchLog
from cyclealign.chat_api.client import Complete
from cyclealign.chat_api.prices import Price
from cyclealign.config import ExperimentConfig, JudgeSettings
from cyclealign.judge.methods import RankingMethod, rank
from cyclealign.judge.requests import PromptSpec, RankingTask
from cyclealign.judge.templates import load_template
from cyclealign.loop.backends import BACKENDS, backend_of
from cyclealign.loop.session import RoundSession
from cyclealign.records import JudgeCall, Reply
from tests.judge.test_templates import PROMPTS
from tests.support.store_values import opened

ANSWERS = {"1": "an answer", "2": "a longer answer", "3": "the longest answer of all"}


class HighestIdFirst:
    """A judge inside this process: all that a third kind needs."""

    needs_key = False
    identity: tuple[object, ...] = ("highest_id_first",)
    key_host = None
    location = "this process"

    def __init__(self, settings: JudgeSettings) -> None:
        pass

    def start(self) -> AbstractContextManager[str | None]:
        return nullcontext()

    @asynccontextmanager
    async def connect(
        self, base_url: str | None, api_key: str, price: Price, batches: BatchLog
    ) -> AsyncIterator[Complete]:
        async def complete(call: JudgeCall) -> Reply:
            labels = [label for label, item in sorted(call.shown, key=lambda pair: pair[1], reverse=True)]
            return Reply(json.dumps({"ranking": labels}), "highest-id-first", 10, 2, price.of(10, 2), 0.0)

        yield complete

    def price(self) -> Price | None:
        return Price(prompt=1.0)

    def token_counter(self) -> Callable[[str], int] | None:
        return len

    def endpoint(self, base_url: str | None) -> str:
        return "highest id first"


def test_every_kind_in_the_settings_has_a_class():
    """Prevents a kind that passes validation and fails only after answers were generated."""
    assert set(BACKENDS) == set(get_args(JudgeSettings.model_fields["kind"].annotation))


def test_a_third_kind_ranks_lists_once_it_is_registered(store, monkeypatch):
    """Prevents knowledge about single kinds from spreading: registry entry and class suffice to rank and to pay."""
    monkeypatch.setitem(BACKENDS, "highest_id_first", HighestIdFirst)
    judge = JudgeSettings(structured=False).model_copy(update={"kind": "highest_id_first"})
    round_ = opened(store, templates=[load_template(PROMPTS, "rank")])
    spec = PromptSpec(round_.plan.templates[0], judge.model, (), seed=0)

    async def job(ask_judge):
        return await rank(ask_judge, RankingTask(spec, "rank", "a list", "Which?", ANSWERS), RankingMethod("listwise"))

    with ExitStack() as stack:
        session = RoundSession(ExperimentConfig(experiment="trial", judge=judge), store, stack)
        (judgement,) = session.run_jobs(round_, "rank", [job])
    assert judgement.ranking("a prompt").order == ("3", "2", "1")
    assert store.calls.spending("trial").usd == pytest.approx(2 * 10 / 1e6)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"kind": "openai", "base_url": "http://a/v1"}, {"kind": "openai", "base_url": "http://a/v1/"}, True),
        ({"kind": "openai", "base_url": "http://a/v1"}, {"kind": "openai", "base_url": "http://b/v1"}, False),
        ({"position_bias": 0.1}, {"position_bias": 0.2}, False),
        ({"kind": "simulated"}, {"kind": "openai"}, False),
    ],
)
def test_two_judges_of_one_name_are_told_apart(first, second, same):
    """Prevents the stored replies of one judge from being recalled as those of another."""
    identities = [backend_of(JudgeSettings(**each)).identity for each in (first, second)]
    assert (identities[0] == identities[1]) is same
