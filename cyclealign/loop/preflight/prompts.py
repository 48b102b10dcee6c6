"""Check the prompt set: enough unused prompts for the rounds asked for, and held-out ones."""

from collections.abc import Iterator

from cyclealign.config import ExperimentConfig
from cyclealign.errors import CycleAlignError
from cyclealign.loop.preflight.finding import Finding, missing, note
from cyclealign.loop.supply import PromptSupply, prompt_supply
from cyclealign.store import Store

SUBJECT = "prompts"
IMPORT = "Import more with `cyclealign prompts import FILE --set {}`"


def prompt_findings(config: ExperimentConfig, store: Store, new_rounds: int) -> Iterator[Finding]:
    """Check the set against the number of rounds that are still to be opened."""
    try:
        supply = prompt_supply(store, config)
    except CycleAlignError as error:
        yield missing(SUBJECT, f"{error} Or correct prompts.set_name.")
        return
    yield enough_prompts(supply, new_rounds)
    more = IMPORT.format(supply.set_name)
    if not supply.held_out:
        yield missing(SUBJECT, f"{supply} Without held-out prompts no round can be evaluated. {more}.")
    elif supply.held_out < config.prompts.held_out:
        yield note(
            SUBJECT,
            f"prompts.held_out = {config.prompts.held_out}, and the set has {supply.held_out}: the win rate is "
            "measured on those.",
        )


def enough_prompts(supply: PromptSupply, new_rounds: int) -> Finding:
    """Compare the unused prompts with the rounds that are still to be opened."""
    more = IMPORT.format(supply.set_name)
    if supply.rounds < new_rounds:
        return missing(
            SUBJECT,
            f"{supply} New rounds asked for: {new_rounds:,}. {more}, lower prompts.per_round, or ask for fewer rounds "
            "(rounds, until).",
        )
    last = supply.prompts_of(new_rounds)
    if last < supply.per_round:
        return note(SUBJECT, f"{supply} Round {new_rounds} of this run will have {last:,} prompts.")
    return Finding(SUBJECT, str(supply))
