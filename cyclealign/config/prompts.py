"""Settings of the prompts of a round."""

from typing import Literal

from pydantic import Field

from cyclealign.config.section import Section


class PromptSettings(Section):
    """Prompts drawn for each round."""

    set_name: str = Field("demo", title="Prompt set", description="The name given to `cyclealign prompts import`.")
    per_round: int = Field(48, ge=1, title="Prompts per round", description="Not used in an earlier round.")
    held_out: int = Field(
        24, ge=1, title="Held-out prompts", description="Used to measure the win rate; never trained on."
    )
    too_long: Literal["refuse", "skip"] = Field(
        "refuse", title="Prompts over the context", description="`refuse`: stop with a message. `skip`: leave them out."
    )
