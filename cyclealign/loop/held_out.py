"""Held-out prompts that a round draws while its test is undecided."""

from itertools import chain

from cyclealign.loop.plan import held_out_draw, prompts_that_fit
from cyclealign.loop.session import RoundSession
from cyclealign.records import Prompt, Round


def planned_prompts(session: RoundSession, round_: Round) -> int:
    """Return the number of prompts that the bets of the round's test are made for.

    Without further prompts their number; with them half of the most that there may be: in simulation
    (benchmarks/gate.py) that notices most gains, on the fewest prompts. The limit is the one that the round was opened
    with, since a bet may not depend on what has been seen.
    """
    first = len(round_.plan.held_out)
    limit = opened_limit(session, round_)
    if session.config.acceptance.rule != "e_value" or limit is None:
        return first
    available = session.store.prompts.count_held_out(session.config.prompts.set_name)
    return max(min(session.config.prompts.held_out, available), (min(limit, available) + 1) // 2)


def opened_limit(session: RoundSession, round_: Round) -> int | None:
    """Return acceptance.max_prompts as the round was opened with it."""
    changes = session.store.changes.of_round(round_.id)
    before = [change.before for change in changes if change.setting == "acceptance.max_prompts"]
    return before[0] if before else session.config.acceptance.max_prompts


def next_held_out(session: RoundSession, round_: Round) -> tuple[Prompt, ...]:
    """Return the prompts to draw next, as many as the round began with or fewer; none if the set has no more."""
    config, drawn = session.config, {prompt.id for prompt in round_.plan.held_out}
    count = min(config.prompts.held_out, (config.acceptance.max_prompts or 0) - len(drawn))
    if count <= 0:
        return ()
    left = (prompt for prompt in held_out_draw(session.store, config, round_.draw) if prompt.id not in drawn)
    first = next(left, None)
    return () if first is None else prompts_that_fit(session, chain([first], left), count)
