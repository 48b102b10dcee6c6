"""Small values for tests of the store."""

from collections.abc import Sequence
from typing import Any

from cyclealign.records import (
    Adapter,
    CallPurpose,
    Candidate,
    Demonstration,
    JudgeCall,
    Message,
    Prompt,
    Ranking,
    Reply,
    Round,
    RoundPlan,
    Template,
    content_id,
)
from cyclealign.records.answers import RankedBy
from cyclealign.store import Store

TEMPLATE = Template("rank", "{% block system %}{% endblock %}{% block user %}{{ question }}{% endblock %}")


def prompt(number: int) -> Prompt:
    """Return the prompt ``question NUMBER``."""
    return Prompt.of((Message(role="user", content=f"question {number}"),))


def prompts(first: int, last: int) -> list[Prompt]:
    """Return the prompts from ``first`` to before ``last``."""
    return [prompt(number) for number in range(first, last)]


def plan(
    experiment: str = "trial",
    drawn: Sequence[Prompt] = (),
    held_out: Sequence[Prompt] = (),
    templates: Sequence[Template] = (TEMPLATE,),
    demonstrations: Sequence[Demonstration] = (),
) -> RoundPlan:
    """Return the plan of a round."""
    return RoundPlan(
        experiment=experiment,
        settings={"seed": 7, "policy": {"answers": 4, "top_p": 0.9}},
        seed=2**62 + 11,
        prompts=tuple(drawn),
        held_out=tuple(held_out),
        templates=tuple(templates),
        demonstrations=tuple(demonstrations),
        base_model="a-model",
    )


def opened(store: Store, owner: str = "me", lease_seconds: float = 600, **parts: Any) -> Round:
    """Open a round with training prompts 0 to 3 and held-out prompts 8 and 9; ``parts`` replace parts of its `plan`."""
    round_plan = plan(**{"drawn": prompts(0, 4), "held_out": prompts(8, 10), **parts})
    store.prompts.add("set", [(prompt, "train") for prompt in (*round_plan.prompts, *round_plan.held_out)], "test")
    return store.rounds.open(round_plan, owner, lease_seconds)


def answers(of_round: Round, to: Prompt, count: int = 3, adapter: Adapter | None = None) -> list[Candidate]:
    """Return candidates for a prompt; only the first is truncated."""
    adapter_id = adapter.id if adapter else None
    return [
        Candidate(
            id=content_id("test candidate", of_round.id, to.id, adapter_id, place),
            prompt_id=to.id,
            position=place,
            text=f"answer {place}",
            token_ids=(5, 6, place),
            logprob_sum=-1.25 * (place + 1),
            finish_reason="stop" if place else "length",
            adapter_id=adapter_id,
        )
        for place in range(count)
    ]


def ranked(candidates: Sequence[Candidate], by: RankedBy = "judge", steadiness: float = 1.0) -> Ranking:
    """Return the candidates' ranking in the given order."""
    return Ranking(candidates[0].prompt_id, by, tuple(candidate.id for candidate in candidates), steadiness)


def demonstration(number: int, tau: float = 0.5) -> Demonstration:
    """Return a dynamic demonstration."""
    return Demonstration.of(f"asked {number}", ("better", f"worse {number}"), "dynamic", tau, 0.04)


def adapter_for(of_round: Round) -> Adapter:
    """Return the adapter that the round trains."""
    name = f"adapter-{of_round.experiment}-{of_round.number}"
    return Adapter(name, f"adapters/{name}", "hash", of_round.parent.id if of_round.parent else None)


def call(number: int, purpose: CallPurpose = "rank") -> JudgeCall:
    """Return a call with its own subject and request."""
    asked = (Message(role="user", content=f"rank these: {number}"),)
    shown = (("A", "first"), ("B", "second"))
    return JudgeCall(purpose, f"subject {number}", "a-judge", TEMPLATE.hash, asked, shown, (("temperature", 0.0),))


def reply(cost_usd: float = 0.25) -> Reply:
    """Return a reply with a verdict."""
    return Reply('{"ranking": ["B", "A"]}', "a-judge-2026", 100, 10, cost_usd, 0.5)
