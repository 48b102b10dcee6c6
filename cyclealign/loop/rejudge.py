"""A stored round put to another judge, template or set of demonstrations, before anything is done with them.

The round's own answers are ranked once more, in the orders and under the labels in which the round had them ranked, so
that only what was changed differs. Nothing of the round changes; no policy is loaded.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from cyclealign.chat_api.scheduler import AskJudge, gather_all
from cyclealign.errors import BadConfig, BudgetReached, JudgeError, StoreError
from cyclealign.judge import comparison as rejudging
from cyclealign.judge.comparison import Overrides
from cyclealign.judge.demonstrations import exclude_same_question
from cyclealign.judge.methods import Judgement
from cyclealign.loop.backends import known_price
from cyclealign.loop.dry_run_judge import Estimate, TokenCounter, imagined
from cyclealign.loop.judge_requests import rankable, ranking_job
from cyclealign.loop.overrides import plan_for, settings_for
from cyclealign.loop.ports import Ports
from cyclealign.loop.session import Job, RoundSession, open_session
from cyclealign.records import (
    Candidate,
    Demonstration,
    JudgeCall,
    Prompt,
    Ranking,
    Rejudgement,
    Reply,
    Round,
    Spending,
    Template,
    content_id,
)
from cyclealign.store import Store

EVERY_ORDER = 2.0  # an agreement that no verdicts reach: adaptive ways then ask all that they may


@dataclass
class Replay:
    """A round that is about to be put to another judge: how its lists were ranked, and what will be asked."""

    session: RoundSession
    round_: Round
    shown: str
    dynamic: Sequence[Demonstration]
    before: Mapping[str, Ranking]
    lists: Mapping[str, Sequence[Candidate]]
    keys: set[str] = field(default_factory=set)

    @property
    def prompts(self) -> list[Prompt]:
        """Those whose lists are ranked again, in the order of the round."""
        return [each for each in self.round_.plan.prompts if each.id in self.lists]

    @property
    def template(self) -> Template:
        """The version that is tried."""
        return next(each for each in self.round_.plan.templates if each.name == "rank")

    @property
    def jobs(self) -> list[Job[Judgement]]:
        """The judging of each list."""
        return [self._job(each) for each in self.prompts]

    def _job(self, prompt: Prompt) -> Job[Judgement]:
        pool = (*self.round_.plan.demonstrations, *exclude_same_question(self.dynamic, prompt.text))
        plan = replace(self.round_.plan, demonstrations=pool)
        ranked = ranking_job(self.session, replace(self.round_, plan=plan), prompt, self.lists[prompt.id])

        async def job(ask_judge: AskJudge) -> Judgement:
            async def aside(call: JudgeCall) -> Reply | None:
                self.keys.add(call.key)
                return await ask_judge(replace(call, purpose="rejudge"))

            return await ranked(aside)

        return job


@dataclass(frozen=True)
class Outcome:
    """What came of a replay; ``paid`` is what this run of it cost."""

    made: Rejudgement
    comparison: rejudging.Comparison
    paid: Spending


@contextmanager
def replay_of(experiment: str, number: int, change: Overrides, ports: Ports | None = None) -> Iterator[Replay]:
    """A round of the store with what is to be changed.

    Raises:
        NoSuchExperiment: there is no such round.
        StoreError: the judge has ranked nothing in it.
        BadConfig: nothing is changed, or a setting is wrong.
    """
    if not change.changes_requests:
        raise BadConfig(
            "Nothing is changed, so nothing would. Try --template FOLDER, --judge MODEL, --config FILE or "
            "--demonstrations none."
        )
    with Store.open() as store:
        round_ = store.rounds.get(experiment, number)
    with open_session(settings_for(round_, change), ports) as session:
        before, lists = session.store.rankings.by_prompt(round_.id, "judge"), rankable(session, round_)
        chosen = [prompt_id for prompt_id in before if prompt_id in lists][: change.prompts]
        if not chosen:
            raise StoreError(
                f"Round {number} of '{experiment}' has no ranking by its judge yet, so there is nothing to compare. "
                "Run it first, or name another round."
            )
        changed = replace(round_, plan=plan_for(round_.plan, change))
        dynamic = session.store.demonstrations.active(experiment) if change.demonstrations == "all" else []
        shown = change.demonstrations or "as in the round"
        yield Replay(session, changed, shown, dynamic, before, {each: lists[each] for each in chosen})


def foreseen(replay: Replay) -> Spending:
    """The most calls that the replay will make, without repairs, and their tokens and price by `cyclealign estimate`.

    Calls that are answered already are free.
    """
    session = replay.session
    given = session.config
    found = Estimate(known_price(given))
    asked = set(session.store.calls.answered_keys(replay.round_.experiment))
    ask_judge = imagined(found, replay.round_.number, asked, TokenCounter.of(session))
    dearest = given.judge.model_copy(update={"stop_at_tau": EVERY_ORDER})
    session.config = given.model_copy(update={"judge": dearest})

    async def imagine() -> None:
        await gather_all(job(ask_judge) for job in replay.jobs)

    try:
        asyncio.run(imagine())
    finally:
        session.config = given
        replay.keys.clear()
    return found.total


def rejudge(replay: Replay) -> Outcome:
    """Ask, compare, and keep what came of it with the round.

    Raises:
        BudgetReached: the round's budget, or that of the config that was named, does not have it.
        JudgeError: no list got a readable verdict.
    """
    session, round_ = replay.session, replay.round_
    session.store.templates.add(replay.template)
    before = rejudging_cost(replay)
    found = asked(replay)
    note_problems(session, round_, found)
    after = {
        prompt.id: verdict
        for prompt, each in zip(replay.prompts, found, strict=True)
        if (verdict := each.ranking(prompt.id)) is not None
    }
    if not after:
        raise JudgeError(
            f"The judge gave no readable verdict on any of {len(found)} lists. Look at its replies with "
            f"`cyclealign history {round_.experiment} --round {round_.number} --failures`."
        )
    comparison = rejudging.compare(replay.before, after)
    made = made_of(replay, comparison)
    session.store.rejudgements.record(made)
    return Outcome(made, comparison, rejudging_cost(replay) - before)


def asked(replay: Replay) -> list[Judgement]:
    """Put the lists to the judge; a budget that ends it is raised otherwise than a run's."""
    session, round_ = replay.session, replay.round_
    try:
        return session.ask(round_, f"rejudge round {round_.number}", replay.jobs)
    except BudgetReached as error:
        spent = session.store.calls.spending(
            round_.experiment, round_.id if session.config.budget.scope == "round" else None
        )
        raise BudgetReached(
            f"The budget of the {session.config.budget.scope} does not have the next call; spent: {spent.usd:.4f} USD, "
            f"{spent.tokens:,} tokens, {spent.calls:,} calls. Everything that was answered is stored. Give the same "
            "command with `--config FILE`, a TOML file with a raised [budget]: only the rest is asked."
        ) from error


def rejudging_cost(replay: Replay) -> Spending:
    """What has been paid so far for putting the round to other judges."""
    return replay.session.store.rejudgements.spending(replay.round_.experiment, round_id=replay.round_.id)


def note_problems(session: RoundSession, round_: Round, found: Sequence[Judgement]) -> None:
    """Say why replies could not be read, as for the round's own."""
    problems = dict(problem for each in found for problem in each.problems)
    if problems:
        session.store.calls.record_parse_problems(round_.id, problems)


def made_of(replay: Replay, comparison: rejudging.Comparison) -> Rejudgement:
    """The replay as the history keeps it."""
    session, round_ = replay.session, replay.round_
    return Rejudgement(
        id=content_id("rejudgement", round_.id, sorted(replay.keys)),
        round_id=round_.id,
        model=session.config.judge.model,
        template_hash=replay.template.hash,
        demonstrations=replay.shown,
        lists=len(comparison.diffs),
        unread=len(replay.lists) - len(comparison.diffs),
        pairs=comparison.pairs,
        flips=comparison.flips,
        tau=comparison.tau,
        cost=session.store.rejudgements.spending(round_.experiment, keys=replay.keys),
    )
