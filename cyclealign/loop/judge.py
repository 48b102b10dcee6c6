"""The judge's half of a round: its rankings, where they agree with the policy's, and what it is shown next time."""

import logging
from collections.abc import Iterator

from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.errors import JudgeError
from cyclealign.judge.methods import Judgement
from cyclealign.loop.concurrency import WorkSignal
from cyclealign.loop.judge_requests import flags_of, rankable, ranking_job
from cyclealign.loop.session import Job, RoundSession
from cyclealign.progress import report_progress
from cyclealign.records import (
    Prompt,
    Round,
)
from cyclealign.store import Store

logger = logging.getLogger(__name__)


def judge(session: RoundSession, round_: Round, bell: WorkSignal) -> int:
    """The judge ranks the distinct answers to each usable prompt; returns how many prompts have a verdict.

    The database is the queue: at each ring it is asked which answered prompts are unjudged. Verdicts are stored as they
    come.

    Raises:
        JudgeError: fewer prompts than judge.min_judged got a verdict. The answered calls are kept.
    """
    queue = JudgingQueue(session, round_)
    session.ask_as_they_come(round_, queue.look, bell)
    judged = len(session.store.rankings.by_prompt(round_.id, "judge"))
    refuse_silent_judge(session, judged, len(rankable(session, round_)))
    return judged


class JudgingQueue:
    """What of a round is to be judged, and how far that is; for use inside one thread."""

    def __init__(self, session: RoundSession, round_: Round) -> None:
        self._shop, self._round = session, round_
        self._begun: set[str] = set()
        self._done = len(session.store.rankings.by_prompt(round_.id, "judge"))
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

    def _stored(self, prompt: Prompt, job: Job[Judgement]) -> Job[None]:
        async def run(ask_judge: AskJudge) -> None:
            store_judgement(self._shop.store, self._round, prompt, await job(ask_judge))
            self._done += 1
            self._tell()

        return run

    def _tell(self) -> None:
        now = (self._done, self._of)
        if now != self._told and self._of:
            self._told = now
            report_progress("judge", *now)


def store_judgement(store: Store, round_: Round, prompt: Prompt, found: Judgement) -> None:
    """Store the ranking, or why the prompt stays unjudged; and what was wrong with replies."""
    if found.problems:
        store.calls.record_parse_problems(round_.id, dict(found.problems))
    verdict = found.ranking(prompt.id)
    if verdict is not None:
        store.rankings.add(round_.id, [verdict])
    else:
        store.rankings.mark_unjudged(round_.id, prompt.id, found.unjudged_reason)


def refuse_silent_judge(session: RoundSession, judged: int, asked: int) -> None:
    """Raise JudgeError when too few prompts have a verdict; a prompt without one is never given a default."""
    if judged < asked:
        logger.warning(
            "The judge gave no readable verdict on %d of %d prompts; they stay unjudged.", asked - judged, asked
        )
    if judged == 0 or judged < session.config.judge.min_judged * asked:
        raise JudgeError(
            f"The judge gave a readable verdict on {judged} of {asked} prompts (least: judge.min_judged = "
            f"{session.config.judge.min_judged:.0%}). Look at its replies with `cyclealign history "
            f"{session.config.experiment} --failures`; run again to ask the failed calls once more."
        )
