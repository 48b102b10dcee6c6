"""Duels: the judge compares answers to held-out prompts with those of another policy, until the test has decided."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.config import ExperimentConfig
from cyclealign.errors import JudgeError
from cyclealign.evaluation import metrics as evaluation
from cyclealign.evaluation.sequential_test import Look, look
from cyclealign.judge.methods import RankingMethod, rank
from cyclealign.loop.generate import draw_answers
from cyclealign.loop.held_out import next_held_out, planned_prompts
from cyclealign.loop.judge_requests import flags_of, prompt_spec, ranking_task
from cyclealign.loop.session import JudgeJob, RoundSession
from cyclealign.loop.settings import opened_settings
from cyclealign.loop.take_over import answer_settings
from cyclealign.loop.verdict import level_of
from cyclealign.records import Adapter, CallPurpose, Candidate, Demonstration, Prompt, Round

logger = logging.getLogger(__name__)
Answers = Mapping[str, Sequence[Candidate]]


@dataclass(frozen=True)
class Duel:
    """The comparison of one answer with the parent's.

    Attributes:
        score: of the new answer: 1 win, 0.5 tie, 0 loss; None without a readable verdict.
        asked: whether the judge was asked, which it is not about equal texts.
        problems: (key of the call, problem) of each reply that failed or could not be parsed.
    """

    prompt_id: str
    score: float | None
    asked: bool = True
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Comparison:
    """The answers of parent and new policy to all held-out prompts of a round, with their duels in the same order."""

    round: Round
    parent_answers: Answers
    new_answers: Answers
    duels: tuple[Duel, ...]


def compare_until_decided(session: RoundSession, round_: Round) -> Comparison:
    """Compare the new policy with its parent on the round's held-out prompts; on more while the test is undecided.

    Further prompts become part of the round before they are answered, so a resumed run finds them, and what was drawn
    and judged for them.

    Raises:
        JudgeError: fewer of the duels are readable than acceptance.min_readable. The answered calls are kept.
    """
    new = session.store.adapters.of_round(round_.id)
    planned = planned_prompts(session, round_)
    while True:
        parents = held_out_answers(session, round_, round_.parent)
        answers = held_out_answers(session, round_, new)
        session.store.candidates.add_flags([flag for row in answers.values() for flag in flags_of(row)])
        duels = fight(session, round_, parents, answers)
        require_readable(session.config, duels)
        comparison = Comparison(round_, parents, answers, tuple(duels))
        if decided(session, round_, duels, planned) or not (more := next_held_out(session, round_)):
            return comparison
        logger.info("Round %d of '%s': undecided, %d more prompts.", round_.number, round_.experiment, len(more))
        session.store.rounds.draw_held_out(round_.id, session.owner, more)
        round_ = replace(round_, plan=replace(round_.plan, held_out=(*round_.plan.held_out, *more)))


def decided(session: RoundSession, round_: Round, duels: Sequence[Duel], planned: int) -> bool:
    """Return whether no further prompt is wanted: by setting, or since the test has ended or can no longer succeed."""
    settings = session.config.acceptance
    left = (settings.max_prompts or 0) - len(round_.plan.held_out)
    if settings.rule != "e_value" or left <= 0:
        return True
    level = level_of(settings, session.store, round_)
    scores = evaluation.scores_of_prompts([(duel.prompt_id, duel.score) for duel in duels])
    found = look(scores, planned, level, left, against=settings.alpha)
    return found == Look.DECIDED or (found == Look.CANNOT_WIN and settings.undecided == "roll_back")


def held_out_answers(session: RoundSession, round_: Round, adapter: Adapter | None) -> Answers:
    """Return an adapter's answers to the held-out prompts.

    They are drawn once per experiment and sampling; with evaluation.fresh_parent once per round, so that no answer that
    has won a duel before, and was promoted for it, is compared again.
    """
    origin = ["held-out", round_.lineage, round_.plan.seed, *changed_sampling(session, round_)]
    if session.config.evaluation.fresh_parent:
        origin.append({"round": round_.draw})
    label = "answer held-out prompts"
    return draw_answers(
        session, round_, label, round_.plan.held_out, session.config.evaluation.answers, origin, adapter
    )


def changed_sampling(session: RoundSession, round_: Round) -> list[dict[str, object]]:
    """Return the sampling settings of the answers if they are not those of the experiment's first round, else nothing.

    Stored answers of the parent under another temperature, say, must not be compared with new ones.
    """
    first = opened_settings(session.store.rounds.get(round_.experiment, 1))
    now, before = (answer_settings(config) for config in (session.config, first))
    return [] if now == before else [now]


def fight(
    session: RoundSession,
    round_: Round,
    other_answers: Answers,
    new_answers: Answers,
    purpose: CallPurpose = "win_rate",
) -> list[Duel]:
    """Ask the judge about each pair of answers, shown in both orders; equal texts are a tie and cost nothing.

    Args:
        other_answers: those of the parent, or of the base model, by prompt id.
        purpose: of the calls.
    """
    jobs: list[JudgeJob[Duel]] = []
    for prompt in round_.plan.held_out:
        for other, new in zip(other_answers[prompt.id], new_answers[prompt.id], strict=True):
            jobs.append(duel_job(session, round_, prompt, other, new, purpose))
    label = "compare with the parent" if purpose == "win_rate" else "compare with the base model"
    duels = session.run_jobs(round_, label, jobs, session.config.examiner)
    problems = dict(problem for duel in duels for problem in duel.problems)
    session.store.calls.record_parse_problems(round_.id, problems)
    return duels


def demonstrations_of_duels(config: ExperimentConfig, round_: Round) -> Sequence[Demonstration]:
    """Return the demonstrations for the judge of the duels; another one than the teacher sees the written ones alone.

    Dynamic demonstrations are the teacher's rankings: they would teach its errors to the examiner.
    """
    pool = round_.plan.demonstrations
    return pool if config.evaluation.judge is None else [shown for shown in pool if shown.kind == "static"]


def require_readable(config: ExperimentConfig, duels: Sequence[Duel]) -> None:
    """Check that enough duels have a readable verdict: those without one could turn a verdict taken from the rest.

    The share of prompts with a readable duel is never smaller than that of the duels.

    Raises:
        JudgeError: a smaller share than acceptance.min_readable is readable, or none of those that the judge was asked.
    """
    readable = sum(duel.score is not None for duel in duels)
    asked = [duel for duel in duels if duel.asked]
    if readable < len(duels):
        logger.warning("The judge gave no readable verdict on %d of %d duels.", len(duels) - readable, len(duels))
    none = bool(asked) and all(duel.score is None for duel in asked)
    if none or readable < config.acceptance.min_readable * len(duels):
        raise JudgeError(
            f"{readable} of {len(duels)} duels with the parent have a readable verdict, of which "
            f"{len(duels) - len(asked)} are of equal answers (minimum: acceptance.min_readable = "
            f"{config.acceptance.min_readable:.0%}, and one of those that the judge was asked): the round is neither "
            f"accepted nor rolled back by the rest. Look at the replies with `cyclealign history {config.experiment} "
            "--failures`; rerun to repeat the failed calls, or lower acceptance.min_readable."
        )


def duel_job(
    session: RoundSession,
    round_: Round,
    prompt: Prompt,
    parent: Candidate,
    new: Candidate,
    purpose: CallPurpose = "win_rate",
) -> JudgeJob[Duel]:
    """Return a job that compares the new answer to a prompt with the parent's."""
    spec = prompt_spec(session, round_, "win rate", judge=session.config.examiner)
    texts, pool = {parent.id: parent.text, new.id: new.text}, demonstrations_of_duels(session.config, round_)

    async def job(ask_judge: AskJudge) -> Duel:
        if parent.text == new.text:
            return Duel(prompt.id, 0.5, asked=False)
        task = ranking_task(session, spec, purpose, prompt.id, prompt, texts, pool)
        judgement = await rank(ask_judge, task, RankingMethod("listwise", num_orders=2))
        return Duel(prompt.id, evaluation.duel_score(new.id, judgement.verdicts), problems=judgement.problems)

    return job
