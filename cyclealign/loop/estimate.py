"""What rounds will cost, before anything is spent: the very jobs of a round, put to an imagined judge.

The prompts, templates, demonstrations and labelled lists are those that the run will use. What is not there yet is
stood in for: the answers by a sample of the policy's (or by filler of a guessed length), later demonstrations by
sampled lists, the verdicts by imagined ones. No judge is asked, and nothing is written but the prompts of the demo.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from cyclealign.chat_api.prices import Price
from cyclealign.chat_api.scheduler import gather_all
from cyclealign.config import ExperimentConfig
from cyclealign.loop.backends import known_price
from cyclealign.loop.demonstration_gain import accuracy_arms, accuracy_on, jobs_on_reviewed, labelled_lists
from cyclealign.loop.dry_run_judge import CHARACTERS_PER_TOKEN, Estimate, TokenCounter, imagined
from cyclealign.loop.evaluate import duel
from cyclealign.loop.judge_health import control_job, planted_in
from cyclealign.loop.judge_requests import ranking_job
from cyclealign.loop.plan import plan_round
from cyclealign.loop.session import Job, RoundSession, open_session
from cyclealign.loop.settings import effective_settings
from cyclealign.policy import Answer, as_candidates, distinct
from cyclealign.progress import report_progress
from cyclealign.records import Adapter, Candidate, Demonstration, Prompt, Round, RoundPlan, seed_from

FILLER_SHARE = 0.6  # of policy.max_new_tokens, where the policy is not asked
# A round's training makes the same draw go another way at so many of the tokens (3.6 % in the demo, three rounds). An
# answer that it leaves as it was is a tie with the parent's, and asks nothing.
CHANGED_TOKENS = 0.036
GOLDEN = (5**0.5 - 1) / 2  # multiples of it spread evenly over [0, 1)


class StubPolicy:
    """Stands in for a policy that is not loaded: every prompt fits, and answers have a guessed length."""

    context_tokens = 1 << 30

    def __init__(self, max_new_tokens: int) -> None:
        self._words = max(1, round(max_new_tokens * FILLER_SHARE * CHARACTERS_PER_TOKEN / 5))

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Nothing is known of its tokens."""
        return []

    def use(self, adapter: Adapter | None) -> None:
        """It knows no adapters."""

    def answer(self, prompts: Sequence[Prompt], count: int, seed: int) -> list[list[Answer]]:
        """Words of five characters with the blank; no two answers alike."""
        texts = [" ".join([f"{number:04d}", *["word"] * (self._words - 1)]) for number in range(count)]
        tokens = (0,) * round(self._words * 5 / CHARACTERS_PER_TOKEN)
        return [[Answer(text, tokens, 0.0, "stop") for text in texts] for _ in prompts]

    def close(self) -> None:
        """It holds nothing."""


def estimate(config: ExperimentConfig, sample: int) -> Estimate:
    """Foresee the rounds that a run of this config would go through.

    Args:
        sample: so many prompts are answered by the policy, to see how long its answers are; 0: it is not loaded.
    """
    with open_session(config) as session:
        if sample == 0:
            session.__dict__["policy"] = StubPolicy(config.policy.max_new_tokens)  # before it is made at its first use
        round_ = session.store.rounds.unfinished(config.experiment)
        if round_ is not None:
            session.config = effective_settings(config, round_)
        else:
            done = session.store.experiments.rounds(config.experiment)
            round_ = Round(0, config.experiment, len(done) + 1, plan_round(session), None)
        count, price = rounds_to_go(session, config), known_price(session.config)
        samples = sampled(session, round_.plan, sample or 1)
        shown = dynamic_foreseen(round_.plan, session.config.demonstrations.min_gain)
        found = asyncio.run(foresee(session, round_, samples, count, price, shown))
        if not shown and session.config.demonstrations.dynamic and count > 1:
            found.if_shown = asyncio.run(foresee(session, round_, samples, count, price, shown=True)).total
        return found


def dynamic_foreseen(plan: RoundPlan, min_gain: float) -> bool:
    """Whether rounds after the first are taken to show dynamic demonstrations: if it does, or if all are to.

    Nobody knows whether they will earn their place before the judge is asked. In the demo world they seldom do.
    """
    return min_gain == -1 or any(each.kind == "dynamic" for each in plan.demonstrations)


def rounds_to_go(session: RoundSession, config: ExperimentConfig) -> int:
    """How many rounds the run would finish."""
    if config.until is None:
        return config.rounds
    finished = session.store.rounds.count_closed(config.experiment)
    return max(0, min(config.rounds, config.until - finished))


def sampled(session: RoundSession, plan: RoundPlan, count: int) -> list[list[Answer]]:
    """The policy's answers to some prompts."""
    settings, prompts = session.config.policy, plan.prompts[:count]
    rows: list[list[Answer]] = []
    for start in range(0, len(prompts), settings.batch_prompts):
        report_progress("answer some prompts", start, len(prompts))
        batch = prompts[start : start + settings.batch_prompts]
        answers = session.policy.answer(batch, settings.answers, seed_from("estimate", plan.seed, start))
        rows += answers
    report_progress("answer some prompts", len(prompts), len(prompts))
    return rows


async def foresee(
    session: RoundSession, first: Round, samples: list[list[Answer]], count: int, price: Price, shown: bool
) -> Estimate:
    """Put the jobs of ``count`` rounds to the imagined judge; ``shown``: the later ones show dynamic demonstrations."""
    found, counting = Estimate(price), TokenCounter.of(session)
    asked = set(session.store.calls.answered_keys(first.experiment))
    static = [each for each in first.plan.demonstrations if each.kind == "static"]
    pool = first.plan.demonstrations
    for number in range(first.number, first.number + count):
        round_ = replace(first, number=number, plan=replace(first.plan, demonstrations=pool))
        dynamic = dynamic_after(session, first, samples, number)
        ask_judge = imagined(found, number, asked, counting)
        await gather_all(job(ask_judge) for job in jobs_of(session, round_, dynamic, samples))
        pool = (*static, *(dynamic if shown else ()))
    return found


def jobs_of(
    session: RoundSession, round_: Round, dynamic_next: Sequence[Demonstration], samples: list[list[Answer]]
) -> list[Job[object]]:
    """All that a round asks its judge."""
    jobs: list[Job[object]] = [control_job(session, round_, each) for each in planted_in(session, round_)]
    for place, prompt in enumerate(round_.plan.prompts):
        answers = distinct(stand_ins(prompt, samples[place % len(samples)], "train", round_.number))
        if len(answers) >= 2:
            jobs.append(ranking_job(session, round_, prompt, answers))
    duels = [(prompt, other) for prompt in round_.plan.held_out for other in range(session.config.evaluation.answers)]
    for place, (prompt, other) in enumerate(duels):
        row = samples[place % len(samples)]
        parent, new = stand_ins(prompt, [row[0], row[-1]], "held out", round_.number, other)
        unchanged = (1 - CHANGED_TOKENS) ** len(row[0].token_ids)
        if place * GOLDEN % 1 >= unchanged:
            jobs.append(duel(session, round_, prompt, parent, replace(new, text=new.text + " ")))
    for pool in accuracy_arms(round_, dynamic_next).values():
        jobs += [accuracy_on(session, round_, each, pool) for each in labelled_lists(session)]
    jobs += jobs_on_reviewed(session, round_)
    return jobs


def stand_ins(prompt: Prompt, answers: Sequence[Answer], *origin: object) -> list[Candidate]:
    """Sampled answers as candidates; their ids differ from those of the run, so their requests do, too."""
    return as_candidates(prompt, answers, ["estimate", *origin], None)


def dynamic_after(session: RoundSession, first: Round, samples: list[list[Answer]], number: int) -> list[Demonstration]:
    """The dynamic demonstrations after a round: those in use before the first, and what the rounds may have taught."""
    if not session.config.demonstrations.dynamic:
        return []
    found = session.store.demonstrations.active(first.experiment)
    for earlier in range(first.number, number + 1):
        for place in range(session.config.demonstrations.dynamic):
            prompt = first.plan.prompts[(earlier * 31 + place) % len(first.plan.prompts)]
            row = distinct(stand_ins(prompt, samples[(earlier + place) % len(samples)]))
            if len(row) >= 2:
                texts = tuple(each.text for each in row)
                found.append(Demonstration.of(prompt.text, texts, "dynamic", promoted_round=earlier))
    return found


def estimate_rows(found: Estimate) -> list[dict[str, str | int | float]]:
    """The estimate as rows, the total last."""
    rows = [(str(number), str(purpose), cost) for (number, purpose), cost in sorted(found.rows.items())]
    rows.append(("all", "all", found.total))
    if found.if_shown:
        rows.append(("all", "all, if dynamic demonstrations earn their place", found.if_shown))
    return [
        {"round": number, "purpose": purpose, "calls": cost.calls, "tokens": cost.tokens, "usd": round(cost.usd, 6)}
        for number, purpose, cost in rows
    ]
