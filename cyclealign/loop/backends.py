"""The registry of judge kinds, and the price of the configured judge."""

import logging
from collections.abc import Callable
from functools import lru_cache

from cyclealign.chat_api.prices import Price
from cyclealign.config import ExperimentConfig, JudgeSettings
from cyclealign.demo.judge.backend import SimulatedBackend
from cyclealign.errors import BadConfig
from cyclealign.judge.backends import JudgeBackend, OpenAIBackend

logger = logging.getLogger(__name__)

# By judge.kind; its values are the Literal in `cyclealign.config.judge.JudgeSettings`.
BACKENDS: dict[str, Callable[[JudgeSettings], JudgeBackend]] = {
    "openai": OpenAIBackend,
    "simulated": SimulatedBackend,
}


def backend_of(judge: JudgeSettings) -> JudgeBackend:
    """Return the backend for these settings."""
    return BACKENDS[judge.kind](judge)


def known_price(config: ExperimentConfig) -> Price:
    """Return the price of the judge's model; an unknown one counts as free, with a warning.

    Raises:
        BadConfig: the price is unknown, and the budget limits money.
    """
    price = backend_of(config.judge).price()
    if price is not None:
        return price
    if config.budget.usd is not None:
        raise BadConfig(
            f"budget.usd is set, and the price of '{config.judge.model}' is unknown. Add it to {config.judge.prices}, "
            "or set judge.usd_per_million_prompt_tokens and judge.usd_per_million_completion_tokens."
        )
    return _free(config.judge.model, config.judge.prices)


@lru_cache  # warns once per process, not at each look-up
def _free(model: str, file: str) -> Price:
    logger.warning("No price for '%s' in %s: its calls are counted as free.", model, file)
    return Price()
