"""Settings of an open round: those it was opened with, and those that may change meanwhile."""

from cyclealign.config import ExperimentConfig
from cyclealign.records import Round

# What may change while a round is open: none of it changes what the judge is asked.
CHANGEABLE_MID_ROUND = (
    "base_url",
    "api_key_variable",
    "api_key_block",
    "concurrency",
    "requests_per_minute",
    "tokens_per_minute",
    "timeout_seconds",
    "retries",
    "backoff_seconds",
    "max_busy_seconds",
    "delivery",
    "batch_window_seconds",
    "batch_poll_seconds",
    "share_replies",
    "prices",
    "usd_per_million_prompt_tokens",
    "usd_per_million_cached_tokens",
    "usd_per_million_completion_tokens",
)


def policy_settings(config: ExperimentConfig) -> tuple[object, ...]:
    """What a policy is made by."""
    return config.policy, config.engine, config.training.method, config.training.lora_rank


def effective_settings(config: ExperimentConfig, round_: Round) -> ExperimentConfig:
    """The settings that the round was opened with; reach, pace and budget are today's."""
    opened = ExperimentConfig.model_validate(round_.plan.settings)
    reach = {name: getattr(config.judge, name) for name in CHANGEABLE_MID_ROUND}
    wait = {"wait_minutes": config.review.wait_minutes}
    today = {
        "judge": opened.judge.model_copy(update=reach),
        "engine": config.engine,
        "budget": config.budget,
        "review": opened.review.model_copy(update=wait),
    }
    return opened.model_copy(update=today)
