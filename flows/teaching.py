"""The judge's half of a round: its rankings, where they agree with the policy's, and what it is shown next time."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

from cyclealign import demonstrations, hostile, judging, ranking
from cyclealign.asking import Asker
from cyclealign.clients import parameters_of
from cyclealign.config import JudgeSettings
from cyclealign.errors import JudgeError
from cyclealign.policy import distinct
from cyclealign.records import (
    Agreement,
    CallPurpose,
    Candidate,
    Demonstration,
    Flag,
    Prompt,
    Ranking,
    Round,
    seed_from,
)
from cyclealign.store import Store
from flows.overlapping import Bell
from flows.progress import tell
from flows.workshop import Job, Workshop

logger = logging.getLogger(__name__)


def manner_of(shop: Workshop, round_: Round, *seed: object) -> judging.Manner:
    """How this round asks its judge."""
    judge = shop.config.judge
    template = next(each for each in round_.plan.templates if each.name == "rank")
    return judging.Manner(
        template, judge.model, parameters_of(judge), seed_from(round_.plan.seed, *seed), judge.reasons
    )


def way_of(judge: JudgeSettings) -> judging.Way:
    """How the settings want a list ranked."""
    return judging.Way(
        judge.method,
        judge.num_orders,
        judge.max_orders,
        judge.stop_at_tau,
        judge.group_size,
        judge.calls_per_answer,
    )


def question_of(
    shop: Workshop,
    manner: judging.Manner,
    purpose: CallPurpose,
    subject_id: str,
    text: str,
    answers: Mapping[str, str],
    pool: Sequence[Demonstration],
) -> judging.Question:
    """One list to rank, with the demonstrations that the settings choose from the pool."""
    settings = shop.config.demonstrations
    shown = demonstrations.choose(pool, text, settings.static, settings.dynamic, settings.selection)
    return judging.Question(manner, purpose, subject_id, text, answers, shown)


def judge(shop: Workshop, round_: Round, bell: Bell) -> int:
    """The judge ranks the distinct answers to each usable prompt; returns how many prompts have a verdict.

    The database is the queue: at each ring it is asked which answered prompts are unjudged. Verdicts are stored as they
    come.

    Raises:
        JudgeError: fewer prompts than judge.min_judged got a verdict. The answered calls are kept.
    """
    queue = JudgingQueue(shop, round_)
    shop.ask_as_they_come(round_, queue.look, bell)
    judged = len(shop.store.rankings.by_prompt(round_.id, "judge"))
    refuse_silent_judge(shop, judged, len(rankable(shop, round_)))
    return judged


class JudgingQueue:
    """What of a round is to be judged, and how far that is; for use inside one thread."""

    def __init__(self, shop: Workshop, round_: Round) -> None:
        self._shop, self._round = shop, round_
        self._begun: set[str] = set()
        self._done = len(shop.store.rankings.by_prompt(round_.id, "judge"))
        self._of = len(round_.plan.prompts)
        self._told = (0, 0)

    def look(self) -> Iterator[Job[None]]:
        """The judging of each prompt that was answered, is unjudged and was not found before."""
        waiting = [each for each in self._shop.store.rankings.unjudged(self._round.id) if each not in self._begun]
        self._begun.update(waiting)
        lists = rankable(self._shop, self._round, waiting)
        self._of = len(self._round.plan.prompts) - len(self._shop.store.prompts.set_aside_reasons(self._round.id))
        self._tell()
        prompts = [prompt for prompt in self._round.plan.prompts if prompt.id in lists]
        self._shop.store.candidates.add_flags([flag for row in lists.values() for flag in flags_of(row)])
        return (self._stored(each, ranking_job(self._shop, self._round, each, lists[each.id])) for each in prompts)

    def _stored(self, prompt: Prompt, job: Job[judging.Judgement]) -> Job[None]:
        async def run(asker: Asker) -> None:
            store_judgement(self._shop.store, self._round, prompt, await job(asker))
            self._done += 1
            self._tell()

        return run

    def _tell(self) -> None:
        now = (self._done, self._of)
        if now != self._told and self._of:
            self._told = now
            tell("judge", *now)


def store_judgement(store: Store, round_: Round, prompt: Prompt, found: judging.Judgement) -> None:
    """Store the ranking, or why the prompt stays unjudged; and what was wrong with replies."""
    if found.problems:
        store.calls.record_parse_problems(round_.id, dict(found.problems))
    verdict = found.ranking(prompt.id)
    if verdict is not None:
        store.rankings.add(round_.id, [verdict])
    else:
        store.rankings.mark_unjudged(round_.id, prompt.id, found.unjudged_reason)


def flags_of(answers: Iterable[Candidate]) -> list[Flag]:
    """The answers that look as if they were meant to sway the judge."""
    return [Flag(each.id, kind, words) for each in answers for kind, words in hostile.signs(each.text).items()]


def ranking_job(shop: Workshop, round_: Round, prompt: Prompt, answers: Sequence[Candidate]) -> Job[judging.Judgement]:
    """The judging of one prompt's answers."""
    manner = manner_of(shop, round_, round_.number, "judge")
    texts = {each.id: each.text for each in answers}

    async def job(asker: Asker) -> judging.Judgement:
        question = question_of(shop, manner, "rank", prompt.id, prompt.text, texts, round_.plan.demonstrations)
        return await judging.rank(asker, question, way_of(shop.config.judge))

    return job


def rankable(shop: Workshop, round_: Round, prompt_ids: Sequence[str] | None = None) -> dict[str, list[Candidate]]:
    """The distinct answers of each prompt (or of those named) that was not set aside and has at least two of them.

    Of more than policy.answers the first: equal answers are drawn again by whole draws.
    """
    aside = shop.store.prompts.set_aside_reasons(round_.id)
    rows = {
        prompt_id: distinct(row)[: shop.config.policy.answers]
        for prompt_id, row in shop.store.candidates.by_prompt(round_.id, prompt_ids).items()
        if prompt_id not in aside
    }
    return {prompt_id: row for prompt_id, row in rows.items() if len(row) >= 2}


def refuse_silent_judge(shop: Workshop, judged: int, asked: int) -> None:
    """Raise JudgeError when too few prompts have a verdict; a prompt without one is never given a default."""
    if judged < asked:
        logger.warning(
            "The judge gave no readable verdict on %d of %d prompts; they stay unjudged.", asked - judged, asked
        )
    if judged == 0 or judged < shop.config.judge.min_judged * asked:
        raise JudgeError(
            f"The judge gave a readable verdict on {judged} of {asked} prompts (least: judge.min_judged = "
            f"{shop.config.judge.min_judged:.0%}). Look at its replies with `cyclealign history "
            f"{shop.config.experiment} --failures`; run again to ask the failed calls once more."
        )


def agree(shop: Workshop, round_: Round) -> int:
    """The policy ranks by length-normalised log-prob, and the two rankings are reconciled; returns the prompts."""
    lists = rankable(shop, round_)
    verdicts = shop.store.rankings.by_prompt(round_.id, "judge")
    own = {
        prompt_id: ranking.rank_by_score({each.id: each.mean_logprob for each in lists[prompt_id]})
        for prompt_id in verdicts
    }
    rows = [agreement_of(shop, own[prompt_id], verdict) for prompt_id, verdict in verdicts.items()]
    shop.store.rankings.add(round_.id, [Ranking(prompt_id, "policy", order) for prompt_id, order in own.items()])
    targets = [
        Ranking(
            row.prompt_id,
            "agreement",
            ranking.agreement_target(own[row.prompt_id], verdicts[row.prompt_id].order, row.order),
        )
        for row in rows
    ]
    shop.store.rankings.add(round_.id, targets)
    shop.store.agreements.add(round_.id, rows)
    return len(rows)


def agreement_of(shop: Workshop, own: Sequence[str], verdict: Ranking) -> Agreement:
    """What policy and judge agree on for one prompt, how likely chance is to give as much, and the prompt's weight."""
    agreed = ranking.longest_common_subsequence(own, verdict.order)
    tau = ranking.kendall_tau(own, verdict.order)
    weights = {"uniform": 1.0, "agreement": (1 + tau) / 2, "steadiness": verdict.steadiness}
    return Agreement(
        prompt_id=verdict.prompt_id,
        order=agreed,
        lcs_length=len(agreed),
        answers=len(own),
        chance=ranking.chance_of_lcs(len(own), len(agreed)),
        tau=tau,
        weight=weights[shop.config.training.weighing],
    )


def teach(shop: Workshop, round_: Round) -> int:
    """Agreed rankings that beat chance are proposed as demonstrations, and the oldest retired; returns the proposals.

    They count from the moment the round is accepted; with a round that is rolled back they are dropped. A list that
    was put to people is no example of agreement, and is never proposed.
    """
    settings = shop.config.demonstrations
    texts = {each.id: each.text for row in shop.store.candidates.by_prompt(round_.id).values() for each in row}
    question = {prompt.id: prompt.text for prompt in round_.plan.prompts}
    doubtful = {each.prompt.id for each in shop.store.reviews.find(round_.experiment, round_.number)}
    agreed = [row for prompt_id, row in shop.store.agreements.by_prompt(round_.id).items() if prompt_id not in doubtful]
    worth = demonstrations.worth_promoting(agreed, settings.max_chance)[: settings.max_kept]
    promoted = [(promotion(each, question[each.prompt_id], texts, round_), each.prompt_id) for each in worth]
    in_use = shop.store.demonstrations.active(round_.experiment)  # also where this round does not show them
    retired = demonstrations.to_retire(in_use, len(promoted), settings.max_kept)
    shop.store.demonstrations.propose(round_.id, promoted, retired)
    return len(promoted)


def promotion(agreed: Agreement, question: str, texts: Mapping[str, str], round_: Round) -> Demonstration:
    """An agreed ranking as a demonstration."""
    answers = tuple(texts[each] for each in agreed.order)
    return Demonstration.of(question, answers, "dynamic", agreed.tau, agreed.chance, round_.number)
