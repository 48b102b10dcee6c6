"""Settings of an open round: those that it was opened with, and those that may change meanwhile."""

from collections.abc import Collection

from pydantic import ValidationError

from cyclealign.config import Difference, ExperimentConfig, Merged, MidRound, merge, stored_settings
from cyclealign.errors import BadConfig
from cyclealign.records import Round

REASONS = {
    "generate": "the round has answers",
    "judge": "the round has replies of its judge",
    "agree": "the policy has ranked its answers",
    "train": "the round has an adapter",
    "evaluate": "the round is evaluated",
}


def policy_settings(config: ExperimentConfig) -> tuple[object, ...]:
    """Return the settings that a loaded policy depends on."""
    training = config.training
    adapters = training.method, training.lora_rank, training.lora_targets, training.modules_to_save
    return config.policy, config.engine, adapters


def effective_settings(config: ExperimentConfig, round_: Round, begun: Collection[str]) -> Merged[ExperimentConfig]:
    """Return the round's settings with the current values of those that may change now, and all differences.

    Args:
        config: the settings of the current run.
        begun: the stages that have stored rows in the round.

    Raises:
        BadConfig: a changed setting contradicts one that the round keeps.
    """
    opened = opened_settings(round_)
    merged = merge(opened, config, begun)
    try:
        ExperimentConfig.model_validate(merged.settings.model_dump())
    except ValidationError as error:
        reasons = "; ".join(problem["msg"].removeprefix("Value error, ") for problem in error.errors())
        kept = ", ".join(difference.setting for difference in merged.ignored)
        raise BadConfig(
            f"Round {round_.number} of '{round_.experiment}' is open and keeps its {kept}, which contradicts the "
            f"changed settings: {reasons} {how_to_have_it_now(round_)}"
        ) from error
    return merged


def opened_settings(round_: Round) -> ExperimentConfig:
    """Return the settings that the round was opened with.

    A plan without `policy.thinking` is of a version that kept thoughts in the answers, and goes on so; one without
    `demonstrations.promotion` is of a version that promoted identical orders.
    """
    opened = stored_settings(round_.plan.settings, f"Round {round_.number} of '{round_.experiment}'")
    before: dict[str, object] = {}
    if "thinking" not in opened.policy.model_fields_set:
        before["policy"] = opened.policy.model_copy(update={"thinking": "keep"})
    if "promotion" not in opened.demonstrations.model_fields_set:
        before["demonstrations"] = opened.demonstrations.model_copy(update={"promotion": "identical"})
    return opened.model_copy(update=before) if before else opened


def how_to_have_it_now(round_: Round) -> str:
    """Return how to have settings now that an open round ignores."""
    return (
        "To have them now, give the round up and start the next one on the same prompts: "
        f"cyclealign abandon {round_.experiment}, then rerun."
    )


def change_notice(round_: Round, applied: Collection[Difference], ignored: Collection[Difference]) -> str:
    """Return a block of lines: the settings that have changed in the open round, and those that it ignores."""
    lines = [f"Round {round_.number} of '{round_.experiment}' is open and was opened with other settings."]
    if applied:
        lines += ["Changed now:", *(f"  {described(change)}" for change in applied)]
    if ignored:
        lines.append("Ignored until the next round:")
        lines += [f"  {described(change)} ({reason(change)})" for change in ignored]
        lines.append(how_to_have_it_now(round_))
    return "\n".join(lines)


def described(change: Difference) -> str:
    """Return a change as ``setting: before -> after``."""
    return f"{change.setting}: {_value(change.opened)} -> {_value(change.current)}"


def reason(change: Difference) -> str:
    """Return why the open round ignores the change."""
    return REASONS[change.rule.until or ""] if isinstance(change.rule, MidRound) else "fixed when the round was opened"


def _value(value: object) -> str:
    return "empty" if value is None else str(value)
