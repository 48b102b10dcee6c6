"""Estimate the calls, tokens and cost of rounds: the jobs of a round run against a dry-run judge.

Prompts, templates, demonstrations and labelled lists are those that the run will use. Stubs replace the rest: a sample
of the policy's answers (or text of a typical length) the answers, sampled lists the later demonstrations, the dry-run
judge the verdicts. Nothing is sent, and nothing is written but the demo's prompts.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from cyclealign.chat_api.prices import Price
from cyclealign.chat_api.scheduler import gather_all
from cyclealign.config import ExperimentConfig
from cyclealign.loop.backends import known_price
from cyclealign.loop.demonstration_gain import accuracy_arms, accuracy_job, labelled_lists, reviewed_accuracy_jobs
from cyclealign.loop.dry_run_judge import CHARACTERS_PER_TOKEN, Estimate, TokenCounter, dry_run_judge
from cyclealign.loop.duels import duel_job
from cyclealign.loop.held_out import next_held_out
from cyclealign.loop.judge_health import control_job, control_sets
from cyclealign.loop.judge_requests import ranking_job
from cyclealign.loop.plan import plan_round
from cyclealign.loop.session import JudgeJob, RoundSession, open_session
from cyclealign.loop.settings import effective_settings
from cyclealign.loop.supply import PromptSupply, prompt_supply, rounds_to_run
from cyclealign.policy import Answer, as_candidates, distinct
from cyclealign.progress import report_progress
from cyclealign.records import Adapter, Candidate, Demonstration, Prompt, Round, RoundPlan, Spending, seed_from

STUB_LENGTH = 0.6  # length of a stub answer, as a share of policy.max_new_tokens
# Share of the tokens at which the trained policy, with the same random numbers, draws another token than its parent:
# measured over three rounds of the demo. An unchanged answer ties with the parent's and needs no call.
CHANGED_TOKENS = 0.036
GOLDEN = (5**0.5 - 1) / 2  # its multiples modulo 1 are spread evenly over [0, 1)


class StubPolicy:
    """Replaces a policy that is not loaded: every prompt fits, and all answers have a typical length."""

    context_tokens = 1 << 30

    def __init__(self, max_new_tokens: int) -> None:
        self._words = max(1, round(max_new_tokens * STUB_LENGTH * CHARACTERS_PER_TOKEN / 5))

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Return no tokens, so that every prompt fits."""
        return []

    def use(self, adapter: Adapter | None) -> None:
        """Ignore the adapter."""

    def answer(self, prompts: Sequence[Prompt], count: int, seed: int) -> list[list[Answer]]:
        """Return distinct answers of words of five characters, spaces included."""
        texts = [" ".join([f"{number:04d}", *["word"] * (self._words - 1)]) for number in range(count)]
        tokens = (0,) * round(self._words * 5 / CHARACTERS_PER_TOKEN)
        return [[Answer(text, tokens, 0.0, "stop") for text in texts] for _ in prompts]

    def close(self) -> None:
        """Do nothing."""


def estimate(config: ExperimentConfig, sample: int) -> Estimate:
    """Estimate the rounds of a run with this config.

    Args:
        sample: number of prompts that the policy answers, to measure the length of its answers; 0: it is not loaded.
    """
    with open_session(config) as session:
        if sample == 0:
            session.__dict__["policy"] = StubPolicy(
                config.policy.max_new_tokens
            )  # set before the first use would load it
        supply = prompt_supply(session.store, config)
        round_ = session.store.rounds.unfinished(config.experiment)
        is_open = round_ is not None
        if round_ is not None:
            session.config = effective_settings(config, round_, session.store.changes.begun(round_.id)).settings
        else:
            number, draw = session.store.rounds.next_number(config.experiment)
            round_ = Round(0, config.experiment, number, plan_round(session), None, first_number=draw)
        count, price = rounds_to_run(session.store, config), known_price(session.config)
        sizes = round_sizes(supply, len(round_.plan.prompts), count, is_open)
        samples = sample_answers(session, round_.plan, sample or 1)
        shown = assumes_dynamic(round_.plan, session.config.demonstrations.min_gain)
        result = asyncio.run(estimate_calls(session, round_, samples, sizes, price, shown))
        if not shown and session.config.demonstrations.dynamic and len(sizes) > 1:
            with_dynamic = estimate_calls(session, round_, samples, sizes, price, shown=True)
            result.if_shown = asyncio.run(with_dynamic).total
        result.if_undecided = undecided_total(session, round_, samples, sizes, price, shown)
        result.remarks = [str(supply), *short_supply(supply, len(sizes), count)]
        return result


def undecided_total(
    session: RoundSession, first: Round, samples: list[list[Answer]], sizes: Sequence[int], price: Price, shown: bool
) -> Spending | None:
    """Return the total if every test stays undecided until acceptance.max_prompts; None if no prompt would be added."""
    settings, round_ = session.config.acceptance, first
    while settings.rule == "e_value" and (more := next_held_out(session, round_)):
        round_ = replace(round_, plan=replace(round_.plan, held_out=(*round_.plan.held_out, *more)))
    if round_ is first:
        return None
    return asyncio.run(estimate_calls(session, round_, samples, sizes, price, shown)).total


def round_sizes(supply: PromptSupply, first: int, count: int, is_open: bool) -> list[int]:
    """Return the number of prompts of each round of the run, without rounds that would get none.

    Args:
        first: prompts of the first round, which are still unused if that round is not open.
    """
    later = [supply.prompts_of(number + (not is_open)) for number in range(1, count)]
    return [first, *(size for size in later if size)][:count]


def short_supply(supply: PromptSupply, estimated: int, count: int) -> list[str]:
    """Return a sentence on the rounds that would get no prompt."""
    if estimated == count:
        return []
    return [
        f"The set suffices for {estimated} of the {count} rounds asked for; only those are estimated. Import more with "
        f"`cyclealign prompts import FILE --set {supply.set_name}`, or lower prompts.per_round."
    ]


def assumes_dynamic(plan: RoundPlan, min_gain: float) -> bool:
    """Return whether to assume that later rounds show dynamic demonstrations: if the first does, or min_gain forces it.

    Their gain is unknown before the judge is asked; in the demo world it is rarely enough.
    """
    return min_gain == -1 or any(each.kind == "dynamic" for each in plan.demonstrations)


def sample_answers(session: RoundSession, plan: RoundPlan, count: int) -> list[list[Answer]]:
    """Return the policy's answers to the first ``count`` prompts of the plan."""
    settings, prompts = session.config.policy, plan.prompts[:count]
    rows: list[list[Answer]] = []
    for start in range(0, len(prompts), settings.batch_prompts):
        report_progress("answer sample prompts", start, len(prompts))
        batch = prompts[start : start + settings.batch_prompts]
        answers = session.policy.answer(batch, settings.answers, seed_from("estimate", plan.seed, start))
        rows += answers
    report_progress("answer sample prompts", len(prompts), len(prompts))
    return rows


async def estimate_calls(
    session: RoundSession, first: Round, samples: list[list[Answer]], sizes: Sequence[int], price: Price, shown: bool
) -> Estimate:
    """Run the jobs of the rounds against a dry-run judge.

    Args:
        sizes: number of prompts of each round.
        samples: answers by prompt of the sample; each prompt of a round gets one of these rows.
        shown: whether the rounds after the first show dynamic demonstrations.
    """
    result, counter = Estimate(price, prices=examiner_price(session.config)), TokenCounter.of(session)
    answered = set(session.store.calls.answered_keys(first.experiment))
    static = [demonstration for demonstration in first.plan.demonstrations if demonstration.kind == "static"]
    pool = first.plan.demonstrations
    for number, size in enumerate(sizes, first.number):
        draw = first.first_number if number == first.number else None
        plan = replace(first.plan, demonstrations=pool, prompts=first.plan.prompts[:size])
        round_ = replace(first, number=number, first_number=draw, plan=plan)
        dynamic = dynamic_after(session, first, samples, number)
        ask_judge = dry_run_judge(result, number, answered, counter)
        await gather_all(job(ask_judge) for job in jobs_of(session, round_, dynamic, samples))
        pool = (*static, *(dynamic if shown else ()))
    return result


def examiner_price(config: ExperimentConfig) -> dict[str, Price]:
    """Return the price of the judge of the duels by its name, if it is another one."""
    if config.evaluation.judge is None:
        return {}
    return {config.evaluation.judge: known_price(config.model_copy(update={"judge": config.examiner}))}


def jobs_of(
    session: RoundSession, round_: Round, dynamic_next: Sequence[Demonstration], samples: list[list[Answer]]
) -> list[JudgeJob[object]]:
    """Return all jobs of a round."""
    jobs: list[JudgeJob[object]] = [
        control_job(session, round_, control_set) for control_set in control_sets(session, round_)
    ]
    for place, prompt in enumerate(round_.plan.prompts):
        answers = distinct(stub_candidates(prompt, samples[place % len(samples)], "train", round_.number))
        if len(answers) >= 2:
            jobs.append(ranking_job(session, round_, prompt, answers))
    duels = [(prompt, other) for prompt in round_.plan.held_out for other in range(session.config.evaluation.answers)]
    for place, (prompt, other) in enumerate(duels):
        row = samples[place % len(samples)]
        parent, new = stub_candidates(prompt, [row[0], row[-1]], "held out", round_.number, other)
        unchanged = (1 - CHANGED_TOKENS) ** len(row[0].token_ids)
        if place * GOLDEN % 1 >= unchanged:
            jobs.append(duel_job(session, round_, prompt, parent, replace(new, text=new.text + " ")))
        if session.config.evaluation.against_base and round_.number > 1:
            base = replace(parent, id=f"{parent.id}-base", text=f"{parent.text}  ")
            jobs.append(duel_job(session, round_, prompt, base, new, "win_rate_base"))
    for pool in accuracy_arms(round_, dynamic_next).values():
        jobs += [accuracy_job(session, round_, labelled, pool) for labelled in labelled_lists(session)]
    jobs += reviewed_accuracy_jobs(session, round_)
    return jobs


def stub_candidates(prompt: Prompt, answers: Sequence[Answer], *origin: object) -> list[Candidate]:
    """Return sampled answers as candidates. Their ids differ from those of the run, so their requests are new."""
    return as_candidates(prompt, answers, ["estimate", *origin], None)


def dynamic_after(session: RoundSession, first: Round, samples: list[list[Answer]], number: int) -> list[Demonstration]:
    """Return the dynamic demonstrations after a round: the active ones, and as many new ones per round as are shown."""
    if not session.config.demonstrations.dynamic:
        return []
    pool = session.store.demonstrations.active(first.experiment)
    for earlier in range(first.number, number + 1):
        for place in range(session.config.demonstrations.dynamic):
            prompt = first.plan.prompts[(earlier * 31 + place) % len(first.plan.prompts)]
            row = distinct(stub_candidates(prompt, samples[(earlier + place) % len(samples)]))
            if len(row) >= 2:
                texts = tuple(answer.text for answer in row)
                pool.append(Demonstration.of(prompt.text, texts, "dynamic", promoted_round=earlier, turns=prompt.turns))
    return pool


def estimate_rows(result: Estimate) -> list[dict[str, str | int | float]]:
    """Return the estimate as rows, named as in the view ``judge_spending``; the totals come last.

    ``usd`` is the name of 0.2 and earlier for ``cost_usd``.
    """
    rows = [(str(number), str(purpose), cost) for (number, purpose), cost in sorted(result.rows.items())]
    rows.append(("all", "all", result.total))
    if result.if_shown:
        rows.append(("all", "all, if dynamic demonstrations earn their place", result.if_shown))
    if result.if_undecided:
        rows.append(("all", "all, if every test needs acceptance.max_prompts", result.if_undecided))
    return [
        {
            "round": number,
            "purpose": purpose,
            "calls": cost.calls,
            "tokens": cost.tokens,
            "cost_usd": round(cost.usd, 6),
            "usd": round(cost.usd, 6),
        }
        for number, purpose, cost in rows
    ]
