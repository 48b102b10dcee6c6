"""The policy's own ranking needs log-probs of its answers: do they cost anything when they come with generation?

``python -m benchmarks.scoring [--model FOLDER] [--json]``: one vLLM server answers the same prompts with the same seeds
with log-probs and without, and scores the very answers in a pass of their own, as one would without the former.
Medians over repetitions, after a warm-up, the three taken in turn.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from benchmarks.served import prompts, served, tokens_in
from cyclealign.policy import vllm_requests
from cyclealign.policy.vllm_policy import VllmPolicy
from cyclealign.records import Prompt, seed_from


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that ``work`` takes, and its result."""
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def without_logprobs(policy: VllmPolicy, asked: list[Prompt], count: int, seed: int) -> Any:
    """The requests of `VllmPolicy.answer`, less the log-probs."""
    requests = [
        vllm_requests.sampling_request(
            policy.prompt_ids(prompt), count, seed_from(seed, prompt.id) >> 1, {2}, policy._settings
        )
        for prompt in asked
    ]
    bare = [{**request, "stop_token_ids": sorted(policy._samples.end_tokens), "logprobs": None} for request in requests]
    return vllm_requests.sample(policy.server.ready_client(), policy.server.base_name, bare)


def measure(policy: VllmPolicy, asked: list[Prompt], count: int, repetitions: int) -> dict[str, Any]:
    """Seconds of the three, and how far the two ways' log-probs differ."""
    policy.use(None)
    policy.answer(asked, count, seed=0)
    taken: dict[str, list[float]] = {"with": [], "without": [], "separate": []}
    largest, tokens = 0.0, 0
    for seed in range(1, repetitions + 1):
        first, rows = seconds(partial(policy.answer, asked, count, seed))
        second, _ = seconds(partial(without_logprobs, policy, asked, count, seed))
        texts = [
            [*policy.prompt_ids(prompt), *answer.token_ids]
            for prompt, row in zip(asked, rows, strict=True)
            for answer in row
        ]
        third, scored = seconds(partial(policy.token_logprobs, texts))
        for name, value in zip(taken, (first, second, third), strict=True):
            taken[name].append(value)
        answers = [answer for row in rows for answer in row]
        apart = [
            abs(answer.logprob_sum - sum(row[len(row) - len(answer.token_ids) :])) / len(answer.token_ids)
            for answer, row in zip(answers, scored, strict=True)
        ]
        largest, tokens = max(largest, *apart), tokens + tokens_in(rows)
    return summary(taken, largest, tokens, len(asked) * count * repetitions)


def summary(taken: dict[str, list[float]], largest: float, tokens: int, answers: int) -> dict[str, Any]:
    """Return the figures, ratios first."""
    with_, without, separate = (median(taken[name]) for name in ("with", "without", "separate"))
    return {
        "separate_pass_over_generation": separate / with_,
        "logprobs_over_generation": (with_ - without) / without,
        "seconds_generation_with_logprobs": with_,
        "seconds_generation_without": without,
        "seconds_separate_pass": separate,
        "spread_seconds": {name: [min(values), max(values)] for name, values in taken.items()},
        "largest_difference_nats_per_token": largest,
        "answers": answers,
        "tokens": tokens,
        "machine": platform.processor() or platform.machine(),
    }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--answers", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with served(given.model, given.tokens, rest="stay") as policy:
        found = measure(policy, prompts(given.prompts), given.answers, given.repetitions)
    print(json.dumps(found, indent=2) if given.json else "\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
