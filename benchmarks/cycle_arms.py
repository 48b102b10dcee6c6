"""The arms of `benchmarks.cycle`: changes of the demo's config, and of the simulated judge."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Three rounds of 64 prompts with two written demonstrations; 192 prompts in all, each ranked twice.
COMMON: Mapping[str, Any] = {
    "demonstrations.static": 2,
    "demonstrations.dynamic": 0,
    "prompts.held_out": 60,
    "health.lists": 0,  # an arm whose judge fails the controls would end without figures
    "evaluation.labelled_lists": 40,
}
# Lists in which three of four answers agree, sixteen of them shown, whatever their measured gain.
DYNAMIC: Mapping[str, Any] = {
    "demonstrations.dynamic": 16,
    "demonstrations.promotion": "identical",
    "demonstrations.max_chance": 0.5,
    "demonstrations.max_kept": 64,
    "demonstrations.min_gain": -1.0,
}
ONE_PASS: Mapping[str, Any] = {"prompts.per_round": 192}


@dataclass(frozen=True)
class Arm:
    """One way to run the loop.

    Attributes:
        name: also of its folder.
        changes: ``SECTION.KEY`` -> value, on top of `COMMON`.
        rounds: number of rounds.
        noise: of the simulated judge, in nats; None: its default.
        gold: noise and length bias of a judge that sees gold quality, in place of the simulated one.
        demonstrations: which of a round's lists become demonstrations: those that agree, or as many drawn at random, as
            the judge ranked them.
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 3
    noise: float | None = None
    gold: tuple[float, float] | None = None
    demonstrations: str = "agreed"


def _one_pass(objective: str, **changes: Any) -> Arm:
    return Arm(f"one-pass-{objective}", {**ONE_PASS, "training.objective": objective, **changes}, rounds=1)


# The first arm is the one that the others are compared with, seed by seed.
ARMS: tuple[Arm, ...] = (
    Arm("static"),
    Arm("dynamic", DYNAMIC),
    Arm("random", DYNAMIC, demonstrations="random"),
    Arm("none", {"demonstrations.static": 0}),
    Arm("dynamic-if-better", {**DYNAMIC, "demonstrations.min_gain": 0.0}),
    Arm("six-static", {"demonstrations.static": 6}),
    Arm("six-static-dynamic", {**DYNAMIC, "demonstrations.static": 6}),
    _one_pass("rrhf", **{"training.learning_rate": 1e-3}),
    _one_pass("pro"),
    _one_pass("sft", **{"training.learning_rate": 1e-3}),
    _one_pass("dpo", **{"training.weight": "uniform"}),
    _one_pass("simpo"),
    _one_pass("list_dpo"),
    _one_pass("lipo"),
    _one_pass("ipo", **{"training.weight": "uniform"}),
    Arm("target-agreement", {"training.target": "agreement"}),
    Arm("weight-uniform", {"training.weight": "uniform"}),
    Arm("weight-agreement", {"training.weight": "agreement"}),
    Arm("gate-none", {"acceptance.min_win_rate": 0.0}),
    Arm("gate-e-value", {"acceptance.rule": "e_value"}),
    Arm("eight-rounds", {**DYNAMIC, "stop.max_rollbacks": 0}, rounds=8),
    Arm("eight-rounds-static", {"stop.max_rollbacks": 0}, rounds=8),
    Arm("eight-small-rounds", {"stop.max_rollbacks": 0, "prompts.per_round": 24}, rounds=8),
    Arm("two-answers", {"policy.answers": 2}),
    Arm("eight-answers", {"policy.answers": 8}),
    Arm("judge-noisy", {}, noise=1.5),
    Arm("judge-noisy-dynamic", DYNAMIC, noise=1.5),
    Arm("judge-place-bias", {"judge.position_bias": 2.0}),
    # Right in about 55, 65 and 80 % of the pairs of the base policy's answers; the last two in 73 %, and as often for
    # the longer answer.
    Arm("judge-55", gold=(2.5, 0.0)),
    Arm("judge-65", gold=(0.55, 0.0)),
    Arm("judge-80", gold=(0.22, 0.0)),
    Arm("judge-length-bias", gold=(0.2, 0.04)),
    Arm("judge-length-bias-bounded", {"acceptance.max_length_growth": 0.05}, gold=(0.2, 0.04)),
)


def find_arms(names: str) -> list[Arm]:
    """Return the arms of a comma-separated list, the one to compare with first; empty: all.

    Raises:
        SystemExit: there is no such arm.
    """
    by_name = {arm.name: arm for arm in ARMS}
    chosen = [name.strip() for name in names.split(",") if name.strip()] or list(by_name)
    if unknown := [name for name in chosen if name not in by_name]:
        raise SystemExit(f"There is no arm {', '.join(unknown)}. Arms: {', '.join(by_name)}.")
    return [by_name[name] for name in dict.fromkeys([ARMS[0].name, *chosen])]
