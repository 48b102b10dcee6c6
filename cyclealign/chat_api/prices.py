"""What a judge's tokens cost: from the config, else from the table of prices that a person edits."""

import logging
import tomllib
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cyclealign.config import ExperimentConfig, JudgeSettings
from cyclealign.errors import BadConfig
from cyclealign.files import CHECKOUT

logger = logging.getLogger(__name__)

MILLION = 1e6


class Price(BaseModel):
    """US dollars for a million tokens; ``cached`` None: prompt tokens from the provider's cache cost as others do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: float = Field(0.0, ge=0)
    completion: float = Field(0.0, ge=0)
    cached: float | None = Field(None, ge=0)
    batch: float = Field(0.5, ge=0, le=1)

    def of(self, prompt_tokens: int, completion_tokens: int, cached_prompt_tokens: int = 0) -> float:
        """US dollars for one call; ``cached_prompt_tokens`` is the part of ``prompt_tokens`` that the cache held."""
        cached = min(cached_prompt_tokens, prompt_tokens)
        for_cached = self.prompt if self.cached is None else self.cached
        prompt = (prompt_tokens - cached) * self.prompt + cached * for_cached
        return (prompt + completion_tokens * self.completion) / MILLION


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid")

    models: dict[str, Price]


def load_prices(path: Path) -> dict[str, Price]:
    """The table of prices by model.

    Raises:
        BadConfig: the file cannot be read, or an entry is wrong; the message names file and entry.
    """
    try:
        return _Table.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).models
    except OSError as error:
        raise BadConfig(
            f"{path}: the table of prices cannot be read ({error.strerror}). Correct judge.prices."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path}: not a TOML file: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise BadConfig(f"{path}: '{'.'.join(map(str, first['loc']))}': {first['msg']}.") from error


def price_of(judge: JudgeSettings, table: Path) -> Price | None:
    """The price of the judge's model: the config's own, else the table's; None where nobody knows it.

    The simulated judge costs nothing unless the config says so.

    Raises:
        BadConfig: the table is wanted and cannot be read.
    """
    prompt, completion = judge.usd_per_million_prompt_tokens, judge.usd_per_million_completion_tokens
    if prompt is not None or completion is not None:
        cached = judge.usd_per_million_cached_tokens
        return Price(prompt=prompt or 0.0, completion=completion or 0.0, cached=cached)
    if judge.kind == "simulated":
        return Price()
    return load_prices(table).get(judge.model)


def known_price(config: ExperimentConfig) -> Price:
    """The price of the judge's model.

    Raises:
        BadConfig: nobody knows it, and there is a budget of money.
    """
    price = price_of(config.judge, prices_file(config.judge))
    if price is not None:
        return price
    if config.budget.usd is not None:
        raise BadConfig(
            f"budget.usd is set, and nobody knows what '{config.judge.model}' costs. Add it to {config.judge.prices}, "
            "or set judge.usd_per_million_prompt_tokens and judge.usd_per_million_completion_tokens."
        )
    return no_price(config.judge.model, config.judge.prices)


@lru_cache
def no_price(model: str, file: str) -> Price:
    """Free, and a warning: once a process, not for each look at the price."""
    logger.warning("No price for '%s' in %s: its calls are counted as free.", model, file)
    return Price()


def prices_file(judge: JudgeSettings) -> Path:
    """The table of prices; the one that comes with this checkout where the default is not in the current folder."""
    given = Path(judge.prices)
    shipped = CHECKOUT / given.name
    is_default = judge.prices == JudgeSettings.model_fields["prices"].default
    return shipped if is_default and not given.exists() else given
