"""The verdict on a round: whether its evidence against the parent suffices, and the reason in words."""

from collections.abc import Mapping

from cyclealign.config.evaluation import AcceptanceSettings
from cyclealign.evaluation.report import interval
from cyclealign.records import Metric
from cyclealign.store import Verdict

Metrics = Mapping[str, Metric]


def verdict_of(settings: AcceptanceSettings, metrics: Metrics) -> tuple[Verdict, str]:
    """Return the verdict and its reason for the history: by the duels, then by the drift from the base model."""
    verdict, reason = by_e_value(settings, metrics) if settings.rule == "e_value" else by_mean(settings, metrics)
    kl = metrics["kl_from_base"].value
    if verdict == "accepted" and settings.max_kl is not None and kl > settings.max_kl:
        return "rolled_back", f"KL from the base {kl:.2f} is above {settings.max_kl:.2f} nats per token"
    return verdict, reason


def by_mean(settings: AcceptanceSettings, metrics: Metrics) -> tuple[Verdict, str]:
    """Compare the mean win rate, however uncertain it is, with acceptance.min_win_rate."""
    enough = metrics["win_rate"].value >= settings.min_win_rate
    place = "at least" if enough else "below"
    reason = f"{measured(metrics)}, e-value {e_value(metrics, 'win_e_value')}: {place} {settings.min_win_rate:.2f}"
    return "accepted" if enough else "rolled_back", reason


def by_e_value(settings: AcceptanceSettings, metrics: Metrics) -> tuple[Verdict, str]:
    """Compare the evidence for the new policy, then that for its parent, with 1 / acceptance.alpha."""
    needed = 1 / settings.alpha
    threshold = f"1 / alpha = {needed:.3g}"
    if metrics["win_e_value"].value >= needed:
        return "accepted", f"{measured(metrics)}: e-value {e_value(metrics, 'win_e_value')} reaches {threshold}"
    if metrics["loss_e_value"].value >= needed:
        against = e_value(metrics, "loss_e_value")
        return "rolled_back", f"{measured(metrics)}: the parent is better, e-value {against} reaches {threshold}"
    counts_as = "accepted" if settings.undecided == "accept" else "rolled back"
    reason = (
        f"{measured(metrics)}: undecided, e-value {e_value(metrics, 'win_e_value')} is below {threshold}; counts as "
        f"{counts_as} (acceptance.undecided)"
    )
    return "accepted" if settings.undecided == "accept" else "rolled_back", reason


def measured(metrics: Metrics) -> str:
    """Return the win rate with its interval, prompts and ties, such as ``win rate 0.58 [0.51, 0.66] on 24 prompts``."""
    rate, ties = metrics["win_rate"], metrics["duels_tied"].value
    return f"win rate {interval(rate)} on {rate.count} prompts, {100 * ties:.0f} % ties"


def e_value(metrics: Metrics, name: str) -> str:
    """Format an e-value."""
    return f"{metrics[name].value:.3g}"
