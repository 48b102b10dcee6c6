"""Prices of judge models: from the settings, or from the editable price table."""

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cyclealign.config import JudgeSettings
from cyclealign.errors import BadConfig
from cyclealign.files import CHECKOUT

MILLION = 1e6


class Price(BaseModel):
    """US dollars per million tokens.

    ``cached`` is the price of prompt tokens read from the provider's cache; None: the same as ``prompt``. ``batch`` is
    the factor on all prices for calls through the batch API.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: float = Field(0.0, ge=0)
    completion: float = Field(0.0, ge=0)
    cached: float | None = Field(None, ge=0)
    batch: float = Field(0.5, ge=0, le=1)

    def of(self, prompt_tokens: int, completion_tokens: int, cached_prompt_tokens: int = 0) -> float:
        """Return the cost of one call in US dollars; ``cached_prompt_tokens`` are counted in ``prompt_tokens``."""
        cached = min(cached_prompt_tokens, prompt_tokens)
        for_cached = self.prompt if self.cached is None else self.cached
        prompt = (prompt_tokens - cached) * self.prompt + cached * for_cached
        return (prompt + completion_tokens * self.completion) / MILLION


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid")

    models: dict[str, Price]


def load_prices(path: Path) -> dict[str, Price]:
    """Load the price table, by model name.

    Raises:
        BadConfig: the file cannot be read, or an entry is invalid; the message names file and entry.
    """
    try:
        return _Table.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).models
    except OSError as error:
        raise BadConfig(f"{path}: the price table cannot be read ({error.strerror}). Correct judge.prices.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise BadConfig(f"{path}: '{'.'.join(map(str, first['loc']))}': {first['msg']}.") from error


def configured_price(judge: JudgeSettings) -> Price | None:
    """Return the price from the settings; None if they have none."""
    prompt, completion = judge.usd_per_million_prompt_tokens, judge.usd_per_million_completion_tokens
    if prompt is None and completion is None:
        return None
    return Price(prompt=prompt or 0.0, completion=completion or 0.0, cached=judge.usd_per_million_cached_tokens)


def listed_price(judge: JudgeSettings) -> Price | None:
    """Return the price of the judge's model in the price table; None if it is not listed.

    Raises:
        BadConfig: the table cannot be read.
    """
    return load_prices(prices_file(judge)).get(judge.model)


def prices_file(judge: JudgeSettings) -> Path:
    """Return the path of the price table: the default one is the checkout's if the current folder has none."""
    path = Path(judge.prices)
    shipped = CHECKOUT / path.name
    is_default = judge.prices == JudgeSettings.model_fields["prices"].default
    return shipped if is_default and not path.exists() else path
