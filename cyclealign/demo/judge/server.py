"""The simulated judge behind the OpenAI chat completions protocol: /v1/chat/completions, /v1/models, /health."""

import asyncio
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from cyclealign.demo.judge.faults import GARBAGE, Fault
from cyclealign.demo.judge.model import Behaviour, SchemaSupport, Verdict, count_tokens, judge
from cyclealign.records import SIMULATED_MODEL


@dataclass(frozen=True)
class Settings:
    """Settings of the server.

    Args:
        behaviour: position bias and noise of the verdicts.
        faults: simulated faults.
        key: required API key; None: no key is required.
        log: file to which one JSON line per ranking is appended.
        json_schema: "take" a ``response_format``, whose labels must be those of the request, or "refuse" it.
        judge: gives the verdict on the messages of a request.
    """

    behaviour: Behaviour = field(default_factory=Behaviour)
    faults: tuple[Fault, ...] = ()
    key: str | None = None
    log: Path | None = None
    json_schema: SchemaSupport = "take"
    judge: Callable[[Sequence[str], Behaviour], Verdict] = judge


def make_app(settings: Settings) -> FastAPI:
    """Return the ASGI application."""
    app = FastAPI(title="Simulated judge", docs_url=None, redoc_url=None, openapi_url=None)
    requests = itertools.count(1)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok", "model": SIMULATED_MODEL}

    @app.get("/v1/models")
    async def models(request: Request) -> JSONResponse:
        if not _authorized(request, settings.key):
            return _unauthorized()
        return JSONResponse(
            {"object": "list", "data": [{"id": SIMULATED_MODEL, "object": "model", "owned_by": "cyclealign"}]}
        )

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> JSONResponse:
        if not _authorized(request, settings.key):
            return _unauthorized()
        return await _complete(await request.body(), next(requests), settings)

    return app


async def _complete(body: bytes, number: int, settings: Settings) -> JSONResponse:
    faults = {fault.kind: fault for fault in settings.faults if fault.affects(number)}
    if "slow" in faults:
        await asyncio.sleep(faults["slow"].value)
    if "status" in faults:
        return _error(int(faults["status"].value), "simulated_fault", "This is a simulated fault of the judge.")
    try:
        request = json.loads(body)
        texts = [_text(message) for message in request["messages"]]
        model = str(request["model"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return _error(400, "invalid_request_error", "Send JSON with 'model' and 'messages' of role and content.")
    if model != SIMULATED_MODEL:  # its verdicts must not be stored as those of the model that was asked for
        message = f"There is no model '{model}' here. This is the simulated judge: '{SIMULATED_MODEL}'."
        return _error(404, "model_not_found", message)
    verdict = settings.judge(texts, settings.behaviour)
    if error := _schema_error(request.get("response_format"), verdict, settings.json_schema):
        return _error(400, "invalid_request_error", error)
    if settings.log is not None and verdict.ranking:
        _log(settings.log, request, verdict)
    return JSONResponse(_completion(_faulty_text(verdict, frozenset(faults)), model, texts, number))


def _schema_error(response_format: Any, verdict: Verdict, support: SchemaSupport) -> str:
    """Return the problem with the ``response_format``; empty if there is none."""
    if response_format is None:
        return ""
    if support == "refuse":
        return "'response_format' of type 'json_schema' is not supported by this model."
    try:
        labels = response_format["json_schema"]["schema"]["properties"]["ranking"]["items"]["enum"]
    except (KeyError, TypeError):
        return "'response_format' has no schema for a ranking."
    same = sorted(map(str, labels)) == sorted(verdict.ranking)
    return "" if same or not verdict.ranking else "The labels in the schema differ from those in the request."


def _text(message: Mapping[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "\n".join(str(part["text"]) for part in content)


def _faulty_text(verdict: Verdict, faults: frozenset[str]) -> str:
    if "garbage" in faults:
        return GARBAGE
    if "incomplete" in faults and verdict.ranking:
        return json.dumps({"ranking": list(verdict.ranking[:-1])})
    return verdict.text


def _completion(text: str, model: str, prompt: Sequence[str], number: int) -> dict[str, Any]:
    prompt_tokens, completion_tokens = sum(map(count_tokens, prompt)), count_tokens(text)
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


def _log(log: Path, request: object, verdict: Verdict) -> None:
    """Append one line per ranking, with a hash of the request that does not depend on the order of its keys."""
    request_hash = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    line = {"request": request_hash, "answers": len(verdict.ranking), "demonstrations": verdict.demonstrations}
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _authorized(request: Request, key: str | None) -> bool:
    header = request.headers.get("authorization", "")
    return key is None or hmac.compare_digest(header.encode(), f"Bearer {key}".encode())


def _unauthorized() -> JSONResponse:
    return _error(401, "invalid_api_key", "Wrong API key for the simulated judge.")


def _error(status: int, kind: str, message: str) -> JSONResponse:
    body = {"error": {"message": message, "type": kind, "param": None, "code": kind}}
    # A short wait, so that clients which honour the header retry simulated faults quickly.
    return JSONResponse(body, status, headers={"retry-after-ms": "20"} if kind == "simulated_fault" else None)
