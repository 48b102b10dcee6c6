"""Requests to a vLLM server: sample answers with their log-probs, and score given token ids."""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cyclealign.config import PolicySettings
from cyclealign.errors import EngineRefused
from cyclealign.policy.vllm_client import VllmClient

MAX_CONCURRENT_REQUESTS = 64
ROWS_PER_REQUEST = 32


def sampling_request(
    prompt_ids: Sequence[int], count: int, seed: int, end_tokens: Collection[int], settings: PolicySettings
) -> dict[str, Any]:
    """Return the request for ``count`` samples of one prompt.

    Each prompt is a request with its own seed: prompts of one request would share the seed, and so their random draws.
    """
    return {
        "prompt": list(prompt_ids),
        "n": count,
        "max_tokens": settings.max_new_tokens,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "seed": seed,
        "stop_token_ids": sorted(end_tokens),
        "logprobs": 0,  # of the sampled tokens alone; before temperature, since the server runs with raw_logprobs
        "return_token_ids": True,
    }


def sample(client: VllmClient, name: str, requests: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the choices of each request, by index, sampled from the model or adapter of that name."""
    return _choices(client, [{**request, "model": name} for request in requests])


def score(client: VllmClient, name: str, rows: Sequence[Sequence[int]]) -> list[list[float]]:
    """Return log P of every token but the first in nats, for each row of token ids."""
    starts = range(0, len(rows), ROWS_PER_REQUEST)
    batches = [[list(row) for row in rows[start : start + ROWS_PER_REQUEST]] for start in starts]
    requests = [{"model": name, "prompt": batch, "max_tokens": 1, "prompt_logprobs": 0} for batch in batches]
    replies = _choices(client, requests)
    return [
        _prompt_logprobs(row, choice)
        for batch, choices in zip(batches, replies, strict=True)
        for row, choice in zip(batch, choices, strict=True)
    ]


def _prompt_logprobs(row: Sequence[int], choice: Mapping[str, Any]) -> list[float]:
    positions = choice["prompt_logprobs"][1:]  # the first token has none
    return [float(position[str(token)]["logprob"]) for token, position in zip(row[1:], positions, strict=True)]


def _choices(client: VllmClient, requests: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    """Send requests concurrently, so that the engine batches them, and return the choices of each.

    Raises:
        EngineRefused: a reply comes from another model or adapter than requested.
    """
    if not requests:
        return []
    with ThreadPoolExecutor(max_workers=min(MAX_CONCURRENT_REQUESTS, len(requests))) as pool:
        replies = list(pool.map(client.complete, requests))
    for request, reply in zip(requests, replies, strict=True):
        if reply["model"] != request["model"]:
            raise EngineRefused(f"vLLM replied with model {reply['model']} to a request for {request['model']}.")
    return [sorted(reply["choices"], key=lambda choice: int(choice["index"])) for reply in replies]
