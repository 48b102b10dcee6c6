"""The models that an endpoint lists, to suggest a name."""

import json

import httpx2

from cyclealign.chat_api.client import JudgeClient
from cyclealign.config import JudgeSettings
from cyclealign.errors import CycleAlignError


async def listed_models(settings: JudgeSettings, base_url: str | None, api_key: str) -> list[str]:
    """Return the names of the models that the endpoint lists; none if it has no list."""
    try:
        async with JudgeClient(settings, base_url, api_key) as client, client.api() as api:
            response = await api.get("/models", cast_to=httpx2.Response)
        return [str(model["id"]) for model in json.loads(response.content)["data"]]
    except (CycleAlignError, ValueError, LookupError, TypeError):
        return []
