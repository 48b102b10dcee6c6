"""What is asked of a vLLM server, and what comes back: samples with their log-probs, and log-probs of given texts."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cyclealign.config import PolicySettings
from cyclealign.errors import EngineRefused
from cyclealign.policy.vllm_client import EngineClient

REQUESTS_AT_ONCE = 64
ROWS_A_REQUEST = 32


def sampling(
    prompt_ids: Sequence[int], count: int, seed: int, ends: set[int], settings: PolicySettings
) -> dict[str, Any]:
    """The request for ``count`` samples of one prompt.

    A prompt is a request of its own, with its own seed: in one request for all prompts, all would draw alike.
    """
    return {
        "prompt": list(prompt_ids),
        "n": count,
        "max_tokens": settings.max_new_tokens,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "seed": seed,
        "stop_token_ids": sorted(ends),
        "logprobs": 0,  # of the sampled tokens only; raw, since the server is started with raw_logprobs
        "return_token_ids": True,
    }


def sample(client: EngineClient, name: str, requests: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    """The choices of each request, in the order of their index, from the model or adapter of that name."""
    return _choices(client, [{**request, "model": name} for request in requests])


def score(client: EngineClient, name: str, rows: Sequence[Sequence[int]]) -> list[list[float]]:
    """Log P of every token but the first, for each row of token ids; many rows a request."""
    parts = [[list(row) for row in rows[at : at + ROWS_A_REQUEST]] for at in range(0, len(rows), ROWS_A_REQUEST)]
    bodies = [{"model": name, "prompt": part, "max_tokens": 1, "prompt_logprobs": 0} for part in parts]
    replies = _choices(client, bodies)
    return [
        _prompt_logprobs(row, choice)
        for part, choices in zip(parts, replies, strict=True)
        for row, choice in zip(part, choices, strict=True)
    ]


def _prompt_logprobs(row: Sequence[int], choice: Mapping[str, Any]) -> list[float]:
    places = choice["prompt_logprobs"][1:]  # the first token has none
    return [float(place[str(token)]["logprob"]) for token, place in zip(row[1:], places, strict=True)]


def _choices(client: EngineClient, bodies: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    """Send requests at once, so that the engine batches them; their choices in the order of requests.

    Raises:
        EngineRefused: the engine answered as another model or adapter than it was asked for.
    """
    if not bodies:
        return []
    with ThreadPoolExecutor(max_workers=min(REQUESTS_AT_ONCE, len(bodies))) as pool:
        replies = list(pool.map(client.complete, bodies))
    for body, reply in zip(bodies, replies, strict=True):
        if reply["model"] != body["model"]:
            raise EngineRefused(f"vLLM answered as {reply['model']}, and was asked for {body['model']}.")
    return [sorted(reply["choices"], key=lambda choice: int(choice["index"])) for reply in replies]
