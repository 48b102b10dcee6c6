"""Settings that may change while a round is open."""

import json
from typing import Any

from cyclealign.config import CHANGEABLE_MID_ROUND, ExperimentConfig, Section, changeable_settings, with_current

CHANGEABLE = {
    "budget",
    "engine",
    "judge.api_key_block",
    "judge.api_key_variable",
    "judge.backoff_seconds",
    "judge.base_url",
    "judge.batch_poll_seconds",
    "judge.batch_window_seconds",
    "judge.concurrency",
    "judge.delivery",
    "judge.max_busy_seconds",
    "judge.prices",
    "judge.requests_per_minute",
    "judge.retries",
    "judge.share_replies",
    "judge.timeout_seconds",
    "judge.tokens_per_minute",
    "judge.usd_per_million_cached_tokens",
    "judge.usd_per_million_completion_tokens",
    "judge.usd_per_million_prompt_tokens",
    "review.wait_minutes",
    "stop",
}


def test_the_changeable_settings_are_these() -> None:
    """Prevents a marker that is lost, and one on a setting that the round's stored rows depend on."""
    assert set(changeable_settings(ExperimentConfig)) == CHANGEABLE


def leaves(section: Section, prefix: str = "") -> dict[str, Any]:
    """Every setting by its dotted name; whole sections that are changeable count as one."""
    found: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section) and f"{prefix}{name}" not in CHANGEABLE:
            found |= leaves(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


class Marked:
    """Stands in for the current value of every setting."""


def all_marked(section: Section) -> Section:
    """The section with another value in every setting; unchecked, since only identity counts."""
    marked = {
        name: all_marked(getattr(section, name)) if isinstance(getattr(section, name), Section) else Marked()
        for name in type(section).model_fields
    }
    return section.model_copy(update=marked)


def test_an_open_round_takes_the_changeable_settings_and_no_others() -> None:
    """Prevents a marked setting that a resumed round ignores, and an unmarked one that changes under its rows."""
    opened = ExperimentConfig()
    resumed = with_current(opened, all_marked(opened))
    before = leaves(opened)
    changed = {name for name, value in leaves(resumed).items() if value is not before[name]}
    assert changed == CHANGEABLE


def test_the_marker_stays_out_of_the_form() -> None:
    """Prevents a form that fails to draw because its schema cannot be written as JSON."""
    assert type(CHANGEABLE_MID_ROUND).__name__ not in json.dumps(ExperimentConfig.model_json_schema())
