"""The simulated judge behind the OpenAI chat completions protocol: /v1/chat/completions, /v1/models, /health."""

import asyncio
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from cyclealign.demo.judge.faults import GARBAGE, Fault
from cyclealign.demo.judge.model import Behaviour, SchemaSupport, Verdict, count_tokens, judge

MODEL = "simulated-judge"


@dataclass(frozen=True)
class Settings:
    """How the server answers; ``key`` None lets everyone in, ``log`` gets one JSON line for each ranking given.

    ``json_schema``: whether a ``response_format`` is taken (its labels must be those of the request) or refused.
    """

    manner: Behaviour = field(default_factory=Behaviour)
    faults: tuple[Fault, ...] = ()
    key: str | None = None
    log: Path | None = None
    json_schema: SchemaSupport = "take"


def make_app(settings: Settings) -> FastAPI:
    """The ASGI application."""
    app = FastAPI(title="Simulated judge", docs_url=None, redoc_url=None, openapi_url=None)
    requests = itertools.count(1)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok", "model": MODEL}

    @app.get("/v1/models")
    async def models(request: Request) -> JSONResponse:
        if not _let_in(request, settings.key):
            return _refused()
        return JSONResponse({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "cyclealign"}]})

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> JSONResponse:
        if not _let_in(request, settings.key):
            return _refused()
        return await _complete(await request.body(), next(requests), settings)

    return app


async def _complete(body: bytes, number: int, settings: Settings) -> JSONResponse:
    struck = {fault.kind: fault for fault in settings.faults if fault.strikes(number)}
    if "slow" in struck:
        await asyncio.sleep(struck["slow"].value)
    if "status" in struck:
        return _error(int(struck["status"].value), "simulated_fault", "This is a simulated fault of the judge.")
    try:
        asked = json.loads(body)
        texts = [_text(message) for message in asked["messages"]]
        model = str(asked["model"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return _error(400, "invalid_request_error", "Send JSON with 'model' and 'messages' of role and content.")
    verdict = judge(texts, settings.manner)
    if complaint := _complaint(asked.get("response_format"), verdict, settings.json_schema):
        return _error(400, "invalid_request_error", complaint)
    if settings.log is not None and verdict.ranking:
        _note(settings.log, asked, verdict)
    return JSONResponse(_completion(_spoilt(verdict, frozenset(struck)), model, texts, number))


def _complaint(wanted: Any, verdict: Verdict, support: SchemaSupport) -> str:
    """What is wrong with the ``response_format``, if anything is."""
    if wanted is None:
        return ""
    if support == "refuse":
        return "'response_format' of type 'json_schema' is not supported by this model."
    try:
        labels = wanted["json_schema"]["schema"]["properties"]["ranking"]["items"]["enum"]
    except (KeyError, TypeError):
        return "'response_format' holds no schema of a ranking."
    same = sorted(map(str, labels)) == sorted(verdict.ranking)
    return "" if same or not verdict.ranking else "The schema names other labels than the request."


def _text(message: Mapping[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "\n".join(str(part["text"]) for part in content)


def _spoilt(verdict: Verdict, struck: frozenset[str]) -> str:
    if "garbage" in struck:
        return GARBAGE
    if "incomplete" in struck and verdict.ranking:
        return json.dumps({"ranking": list(verdict.ranking[:-1])})
    return verdict.text


def _completion(text: str, model: str, asked: Sequence[str], number: int) -> dict[str, Any]:
    prompt_tokens, completion_tokens = sum(map(count_tokens, asked)), count_tokens(text)
    return {
        "id": f"chatcmpl-simulated-{number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def _note(log: Path, asked: object, verdict: Verdict) -> None:
    """Append what was answered, by the hash of the request, whatever the order of its keys."""
    request = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    line = {"request": request, "answers": len(verdict.ranking), "demonstrations": verdict.demonstrations}
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _let_in(request: Request, key: str | None) -> bool:
    given = request.headers.get("authorization", "")
    return key is None or hmac.compare_digest(given.encode(), f"Bearer {key}".encode())


def _refused() -> JSONResponse:
    return _error(401, "invalid_api_key", "Wrong API key for the simulated judge.")


def _error(status: int, kind: str, message: str) -> JSONResponse:
    body = {"error": {"message": message, "type": kind, "param": None, "code": kind}}
    # Clients that retry need not wait long for a fault that is only played.
    return JSONResponse(body, status, headers={"retry-after-ms": "20"} if kind == "simulated_fault" else None)
