"""Judging: the judge ranks the answers to each prompt of a round."""

import logging
from collections.abc import Iterator

from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.errors import JudgeError
from cyclealign.judge.methods import Judgement
from cyclealign.loop.concurrency import WorkSignal
from cyclealign.loop.judge_requests import flags_of, rankable, ranking_job
from cyclealign.loop.session import JudgeJob, RoundSession
from cyclealign.progress import report_progress
from cyclealign.records import (
    Prompt,
    Round,
)
from cyclealign.store import Store

logger = logging.getLogger(__name__)


def judge(session: RoundSession, round_: Round, signal: WorkSignal) -> int:
    """Let the judge rank the distinct answers to each usable prompt; return the number of prompts with a verdict.

    The database is the queue: at each signal it is asked for answered prompts that are unjudged. Each verdict is stored
    as soon as it is complete.

    Raises:
        JudgeError: a smaller share than judge.min_judged got a verdict. The answered calls are kept.
    """
    queue = JudgingQueue(session, round_)
    session.consume_jobs(round_, queue.find_jobs, signal)
    judged = len(session.store.rankings.by_prompt(round_.id, "judge"))
    require_verdicts(session, judged, len(rankable(session, round_)))
    return judged


class JudgingQueue:
    """The unjudged prompts of a round, and the progress of judging. For use within one thread."""

    def __init__(self, session: RoundSession, round_: Round) -> None:
        self._session, self._store, self._round = session, session.store, round_
        self._started: set[str] = set()
        self._done = len(session.store.rankings.by_prompt(round_.id, "judge"))
        self._total = len(round_.plan.prompts)
        self._reported = (0, 0)

    def find_jobs(self) -> Iterator[JudgeJob[None]]:
        """Return a job for each answered and unjudged prompt that was not returned before."""
        unjudged = [each for each in self._store.rankings.unjudged(self._round.id) if each not in self._started]
        self._started.update(unjudged)
        lists = rankable(self._session, self._round, unjudged)
        self._total = len(self._round.plan.prompts) - len(self._store.prompts.set_aside_reasons(self._round.id))
        self._report_progress()
        prompts = [prompt for prompt in self._round.plan.prompts if prompt.id in lists]
        self._store.candidates.add_flags([flag for row in lists.values() for flag in flags_of(row)])
        return (
            self._storing(prompt, ranking_job(self._session, self._round, prompt, lists[prompt.id]))
            for prompt in prompts
        )

    def _storing(self, prompt: Prompt, job: JudgeJob[Judgement]) -> JudgeJob[None]:
        async def run(ask_judge: AskJudge) -> None:
            store_judgement(self._store, self._round, prompt, await job(ask_judge))
            self._done += 1
            self._report_progress()

        return run

    def _report_progress(self) -> None:
        now = (self._done, self._total)
        if now != self._reported and self._total:
            self._reported = now
            report_progress("judge", *now)


def store_judgement(store: Store, round_: Round, prompt: Prompt, judgement: Judgement) -> None:
    """Store the ranking, or the reason why the prompt stays unjudged, and the parse problems of the replies."""
    if judgement.problems:
        store.calls.record_parse_problems(round_.id, dict(judgement.problems))
    verdict = judgement.ranking(prompt.id)
    if verdict is not None:
        store.rankings.add(round_.id, [verdict])
    else:
        store.rankings.mark_unjudged(round_.id, prompt.id, judgement.unjudged_reason)


def require_verdicts(session: RoundSession, judged: int, asked: int) -> None:
    """Check that enough prompts have a verdict; one without is never given a default.

    Raises:
        JudgeError: there is none, or a smaller share than judge.min_judged.
    """
    if judged < asked:
        logger.warning(
            "The judge gave no readable verdict on %d of %d prompts; they stay unjudged.", asked - judged, asked
        )
    if judged == 0 or judged < session.config.judge.min_judged * asked:
        raise JudgeError(
            f"The judge gave a readable verdict on {judged} of {asked} prompts (minimum: judge.min_judged = "
            f"{session.config.judge.min_judged:.0%}). Look at its replies with `cyclealign history "
            f"{session.config.experiment} --failures`; rerun to repeat the failed calls, or lower judge.min_judged. To "
            f"take another judge or template, run `cyclealign abandon {session.config.experiment}` first."
        )
