"""Events of rounds: which are emitted, and that each is emitted once."""

from types import SimpleNamespace

import pytest

from cyclealign.config import ExperimentConfig, load_config
from cyclealign.errors import BudgetReached, JudgeUntrusted
from cyclealign.loop.align import align
from cyclealign.loop.events import report_prompts_low
from cyclealign.loop.ports import Ports
from tests.support.store_values import opened, prompts


class Events(list):
    """The reported events, as a port."""

    @property
    def ports(self) -> Ports:
        return Ports(report_event=lambda kind, round_, reason: self.append((kind, round_.number, reason)))


def kinds(events):
    return [(kind, number) for kind, number, _ in events]


def test_a_reached_budget_is_reported_once_until_it_is_raised_and_reached_again(bench):
    """Prevents a message every night from a schedule that meets the same budget, and silence about a raised one."""
    bench.set("budget", calls=2)
    config, events = load_config(bench.write()), Events()
    for _ in range(2):
        with pytest.raises(BudgetReached):
            align(config, events.ports)
    assert kinds(events) == [("budget-reached", 1)]
    assert "2 calls" in events[0][2]
    raised = config.model_copy(update={"budget": config.budget.model_copy(update={"calls": 3})})
    with pytest.raises(BudgetReached):
        align(raised, events.ports)
    assert kinds(events) == [("budget-reached", 1)] * 2


def test_prompts_that_run_low_are_reported_by_the_round_after_which_they_are(store):
    """Prevents a schedule that ends for want of prompts with nobody told, and a message after each round."""
    events = Events()
    store.prompts.add("large", [(each, "train") for each in prompts(0, 20)], "test")
    store.prompts.add("small", [(each, "train") for each in prompts(20, 26)], "test")

    def rounds_of(experiment: str, set_name: str, first: int, last: int) -> list[tuple[str, int]]:
        settings = {"set_name": set_name, "per_round": 4}
        config = ExperimentConfig.model_validate({"experiment": experiment, "prompts": settings})
        for start in range(first, last, 4):
            round_ = opened(store, experiment=experiment, drawn=prompts(start, min(start + 4, last)), held_out=())
            store.rounds.close(round_.id, "me", "accepted", "better")
            report_prompts_low(SimpleNamespace(config=config, store=store, ports=events.ports), round_)
        found = kinds(events)
        events.clear()
        return found

    assert rounds_of("mine", "large", 0, 20) == [("prompts-low", 4)]  # 4 are left, and two rounds draw 8
    assert rounds_of("other", "small", 20, 26) == [("prompts-low", 1)]


def test_an_untrusted_judge_is_reported(bench, monkeypatch):
    """Prevents a judge that is refused every night with nobody told."""
    from cyclealign.loop import align as module

    def refuse(session, round_):
        session.store.rounds.close(round_.id, session.owner, "rolled_back", "refused before training")
        raise JudgeUntrusted("the judge failed a control")

    monkeypatch.setattr(module, "examine_judge", refuse)
    events = Events()
    with pytest.raises(JudgeUntrusted):
        align(load_config(bench.write()), events.ports)
    assert kinds(events) == [("judge-untrusted", 1)]
