"""A stored round prepared for another judge, template or set of demonstrations, and an upper bound of the cost.

The round's own answers are ranked again in the orders and under the labels of the round, so that only the overrides
differ. No policy is loaded.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from cyclealign.chat_api.scheduler import AskJudge, gather_all
from cyclealign.errors import BadConfig, StoreError
from cyclealign.judge.comparison import Overrides
from cyclealign.judge.demonstrations import exclude_same_question
from cyclealign.judge.methods import Judgement
from cyclealign.loop.backends import known_price
from cyclealign.loop.dry_run_judge import Estimate, TokenCounter, dry_run_judge
from cyclealign.loop.judge_requests import rankable, ranking_job
from cyclealign.loop.overrides import plan_for, settings_for
from cyclealign.loop.ports import Ports
from cyclealign.loop.session import JudgeJob, RoundSession, open_session
from cyclealign.records import (
    Candidate,
    Demonstration,
    FailedCall,
    JudgeCall,
    Prompt,
    Ranking,
    Reply,
    Round,
    Spending,
    Template,
)
from cyclealign.store import Store

UNREACHABLE_TAU = 2.0  # as judge.stop_at_tau: the adaptive method then uses all of its orders


@dataclass
class Replay:
    """A round with overrides applied.

    Args:
        session: has the overridden settings.
        round_: has the overridden plan.
        shown: names the set of demonstrations, for the history.
        dynamic: demonstrations that are active now, to show in addition to the plan's.
        before: the judge's rankings in the round, by prompt id.
        lists: the answers to rank again, by prompt id.
        keys: keys of the calls made so far.
    """

    session: RoundSession
    round_: Round
    shown: str
    dynamic: Sequence[Demonstration]
    before: Mapping[str, Ranking]
    lists: Mapping[str, Sequence[Candidate]]
    keys: set[str] = field(default_factory=set)

    @property
    def prompts(self) -> list[Prompt]:
        """Return the prompts whose answers are ranked again, in the order of the round."""
        return [prompt for prompt in self.round_.plan.prompts if prompt.id in self.lists]

    @property
    def template(self) -> Template:
        """Return the template version of the requests."""
        return next(version for version in self.round_.plan.templates if version.name == "rank")

    @property
    def jobs(self) -> list[JudgeJob[Judgement]]:
        """Return a ranking job for each prompt."""
        return [self._job(prompt) for prompt in self.prompts]

    def _job(self, prompt: Prompt) -> JudgeJob[Judgement]:
        pool = (*self.round_.plan.demonstrations, *exclude_same_question(self.dynamic, prompt.text))
        plan = replace(self.round_.plan, demonstrations=pool)
        rank = ranking_job(self.session, replace(self.round_, plan=plan), prompt, self.lists[prompt.id])

        async def job(ask_judge: AskJudge) -> Judgement:
            async def ask_for_replay(call: JudgeCall) -> Reply | FailedCall:
                self.keys.add(call.key)
                # Its own purpose keeps the calls out of the round's verdicts and spending.
                return await ask_judge(replace(call, purpose="rejudge"))

            return await rank(ask_for_replay)

        return job


@contextmanager
def open_replay(experiment: str, number: int, overrides: Overrides, ports: Ports | None = None) -> Iterator[Replay]:
    """Open a stored round with overrides.

    Raises:
        NoSuchExperiment: there is no such round.
        StoreError: the judge has ranked nothing in it.
        BadConfig: the overrides change nothing, or a setting is invalid.
    """
    if not overrides.changes_requests:
        raise BadConfig(
            "Nothing is changed, so the rankings would be the same. Try --template FOLDER, --judge MODEL, "
            "--config FILE or --demonstrations none."
        )
    with Store.open() as store:
        round_ = store.rounds.get(experiment, number)
    with open_session(settings_for(round_, overrides), ports) as session:
        before, lists = session.store.rankings.by_prompt(round_.id, "judge"), rankable(session, round_)
        chosen = [prompt_id for prompt_id in before if prompt_id in lists][: overrides.prompts]
        if not chosen:
            raise StoreError(
                f"Round {number} of '{experiment}' has no ranking by its judge yet, so there is nothing to compare. "
                "Run it first, or name another round."
            )
        changed = replace(round_, plan=plan_for(round_.plan, overrides))
        dynamic = session.store.demonstrations.active(experiment) if overrides.demonstrations == "all" else []
        shown = overrides.demonstrations or "as in the round"
        yield Replay(session, changed, shown, dynamic, before, {prompt_id: lists[prompt_id] for prompt_id in chosen})


def max_cost(replay: Replay) -> Spending:
    """Return the largest number of calls that the replay can make, with their estimated tokens and cost.

    Repairs of unreadable replies are not included; answered calls are free.
    """
    session, settings = replay.session, replay.session.config
    estimate = Estimate(known_price(settings))
    answered = set(session.store.calls.answered_keys(replay.round_.experiment))
    ask_judge = dry_run_judge(estimate, replay.round_.number, answered, TokenCounter.of(session))
    all_orders = settings.judge.model_copy(update={"stop_at_tau": UNREACHABLE_TAU})
    session.config = settings.model_copy(update={"judge": all_orders})

    async def run() -> None:
        await gather_all(job(ask_judge) for job in replay.jobs)

    try:
        asyncio.run(run())
    finally:
        session.config = settings
        replay.keys.clear()
    return estimate.total
