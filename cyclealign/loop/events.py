"""Events of a round that a person may want to hear of, each reported once."""

import logging

from cyclealign.errors import BudgetReached, NoSuchExperiment
from cyclealign.loop.session import RoundSession
from cyclealign.loop.supply import prompt_supply
from cyclealign.records import Round

logger = logging.getLogger(__name__)
BUDGET_NOTE = "budget"
ROUNDS_LEFT = 2  # with fewer prompts than this many rounds draw, they are low


def report_budget_reached(session: RoundSession, round_: Round, error: BudgetReached) -> None:
    """Report that the round stopped at its budget, once for the same limits and spending, and note it in the history.

    A schedule that starts the round again every night reaches the same budget every night.
    """
    words = str(error)
    detail = session.store.history.detail(round_.experiment, round_.number)
    if detail["notes"].get(BUDGET_NOTE) != words:
        session.ports.report_event("budget-reached", round_, words)
        session.store.notes.record(round_.id, BUDGET_NOTE, words)


def report_prompts_low(session: RoundSession, round_: Round) -> None:
    """Report the round after which fewer unused prompts are left than two rounds draw.

    It is the round that crossed this bound, or the first one if the set was that small from the start. Prompts that
    are added later lift the experiment above the bound again.
    """
    try:
        supply = prompt_supply(session.store, session.config)
    except NoSuchExperiment:  # the settings name another set by now, which the next round's checks report
        return
    enough = ROUNDS_LEFT * supply.per_round
    had_enough = supply.unused + len(round_.plan.prompts) >= enough
    if supply.unused < enough and (had_enough or round_.number == 1):
        logger.warning("%s", supply)
        session.ports.report_event("prompts-low", round_, str(supply))
