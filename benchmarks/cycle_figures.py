"""Figures of an experiment in the demo world, from its history and the gold rubric, which the loop never sees."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from cyclealign.demo.world.dataset import quality
from cyclealign.store import PromptFilter, Store

MIN_DIFFERENCE = 0.02  # of gold quality; pairs that are closer count in no accuracy
Values = dict[str, Any]


def figures(store: Store, experiment: str) -> Values:
    """Return the figures of each round, and of the policy that is left at the end."""
    rounds = store.experiments.rounds(experiment)
    by_round = [round_figures(store, experiment, row) for row in rounds]
    metric = rounds[0]["metrics"]["gold_quality_parent"].value
    golds = [metric]
    for row in rounds:
        kept = "gold_quality" if row["verdict"] == "accepted" else "gold_quality_parent"
        golds.append(row["metrics"][kept].value)
    return {
        "gold_base": golds[0],
        "gold_by_round": golds[1:],
        "rounds": by_round,
        "calls": sum(row["judge_calls"] for row in rounds),
        "seconds": sum(row["seconds"] for row in rounds),
    }


def round_figures(store: Store, experiment: str, row: Mapping[str, Any]) -> Values:
    """Return the figures of one round: its metrics, and the accuracy of its rankings against gold quality."""
    prompts, _ = store.history.prompts(experiment, row["number"], PromptFilter("train"))
    overview = store.history.overview(experiment, row["number"])
    shown = [one["kind"] for one in overview["demonstrations"]["in_use"]]
    return {
        "verdict": row["verdict"],
        "dynamic_shown": shown.count("dynamic"),
        "promoted": len(overview["demonstrations"]["promoted"]),
        **{name: metric.value for name, metric in row["metrics"].items()},
        **accuracies(prompts),
    }


def accuracies(prompts: Sequence[Mapping[str, Any]]) -> Values:
    """Return the share of pairs of a round's answers that each ranking orders as gold quality does.

    ``label_accuracy``: the judge's. ``policy_accuracy``: the policy's. ``length_accuracy``: longer is better.
    ``agreed_accuracy``: of the pairs that judge and policy order alike, whose share is ``agreed_share``;
    ``disagreed_accuracy``: the judge's on the other pairs.
    """
    shares: dict[str, list[float]] = {}
    for prompt in prompts:
        for name, value in _of_list(prompt).items():
            shares.setdefault(name, []).append(value)
    return {name: fmean(values) for name, values in shares.items()}


def _of_list(prompt: Mapping[str, Any]) -> dict[str, float]:
    ranked = [one for one in prompt["candidates"] if one["judge_place"] and one["policy_place"]]
    gold = {one["candidate_id"]: quality(prompt["prompt"], one["answer"]) for one in ranked}
    pairs = [
        (a, b) if gold[a["candidate_id"]] > gold[b["candidate_id"]] else (b, a)
        for a, b in combinations(ranked, 2)
        if abs(gold[a["candidate_id"]] - gold[b["candidate_id"]]) >= MIN_DIFFERENCE
    ]
    if not pairs:
        return {}
    by_judge, by_policy = _places("judge_place"), _places("policy_place")
    alike = [pair for pair in pairs if by_judge(*pair) == by_policy(*pair)]
    others = [pair for pair in pairs if by_judge(*pair) != by_policy(*pair)]
    found = {
        "label_accuracy": fmean(by_judge(*pair) for pair in pairs),
        "policy_accuracy": fmean(by_policy(*pair) for pair in pairs),
        "length_accuracy": fmean(_longer(*pair) for pair in pairs),
        "agreed_share": len(alike) / len(pairs),
    }
    if alike:
        found["agreed_accuracy"] = fmean(by_judge(*pair) for pair in alike)
    if others:
        found["disagreed_accuracy"] = fmean(by_judge(*pair) for pair in others)
    return found


def _places(name: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], bool]:
    return lambda better, worse: bool(better[name] < worse[name])


def _longer(better: Mapping[str, Any], worse: Mapping[str, Any]) -> float:
    first, second = better["token_count"], worse["token_count"]
    return 0.5 if first == second else float(first > second)
