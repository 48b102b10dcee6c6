"""Judges over HTTP with the behaviours of common providers, by name; each ranks by `most_words_first`.

`stub_judge("reasoning")` is a context manager with the attributes of `LocalJudge`: ``url``, ``bodies``, ``asked``.
"""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from tests.support.local_judge import LocalJudge, completion

THOUGHT_TOKENS = 600
SLOW_SECONDS = 0.05
Answered = tuple[int, dict[str, Any]]


def refusal(parameter: str, words: str, code: str = "unsupported_parameter") -> Answered:
    """Return status and body of a refused request, in the form of the openai API."""
    error = {"message": words, "type": "invalid_request_error", "param": parameter, "code": code}
    return 400, {"error": error}


class ReasoningJudge(LocalJudge):
    """Refuses ``max_tokens`` and any temperature; thinks for 600 tokens, in a field of its own, before it answers."""

    def reply(self, raw: bytes) -> Answered:
        """Return status and body of the reply."""
        body = json.loads(raw)
        if "max_tokens" in body:
            words = "Unsupported parameter: 'max_tokens' is not supported here. Use 'max_completion_tokens' instead."
            return self._refuse(body, refusal("max_tokens", words))
        if body.get("temperature", 1) != 1:
            words = "Unsupported value: 'temperature' does not support 0.0 here. Only the default (1) is supported."
            return self._refuse(body, refusal("temperature", words, "unsupported_value"))
        status, answer = super().reply(raw)
        text = answer["choices"][0]["message"]["content"]
        limit = body["max_completion_tokens"]
        if limit <= THOUGHT_TOKENS:
            return status, completion("", "length", limit, reasoning_content="so far")
        return status, completion(text, tokens=THOUGHT_TOKENS + 10, reasoning_content="all of them compared")

    def _refuse(self, body: dict[str, Any], answer: Answered) -> Answered:
        self.bodies.append(body)
        self.refused += 1
        return answer

    refused = 0


class SchemaLessJudge(LocalJudge):
    """Refuses a JSON schema."""

    def reply(self, raw: bytes) -> Answered:
        """Return status and body of the reply."""
        if "response_format" in json.loads(raw):
            return refusal("response_format", "This model does not support response_format.")
        return super().reply(raw)


class RefusingJudge(LocalJudge):
    """Refuses about one request in eight in words of its own, and one in eight by moderation (403)."""

    def reply(self, raw: bytes) -> Answered:
        """Return status and body of the reply."""
        status, answer = super().reply(raw)
        draw = hashlib.sha256(json.dumps(self.bodies[-1]["messages"]).encode()).digest()[0] % 8
        if draw == 0:
            return status, completion(None, refusal="I cannot compare these.")
        return (403, {"error": {"message": "This content was flagged", "code": 403}}) if draw == 1 else (status, answer)


class SlowJudge(LocalJudge):
    """Takes a while."""

    def reply(self, raw: bytes) -> Answered:
        """Return status and body of the reply."""
        time.sleep(SLOW_SECONDS)
        return super().reply(raw)


class ThinkingJudge(LocalJudge):
    """Thinks in the text of its reply, with the reverse ranking on the way, and sends no opening tag."""

    def reply(self, raw: bytes) -> Answered:
        """Return status and body of the reply."""
        status, answer = super().reply(raw)
        message = answer["choices"][0]["message"]
        ranking = json.loads(message["content"])["ranking"]
        message["content"] = (
            f"First {json.dumps({'ranking': ranking[::-1]})}, but no.\n</think>\n\n{message['content']}"
        )
        return status, answer


STUB_JUDGES: dict[str, Callable[[], LocalJudge]] = {
    "plain": LocalJudge,
    "reasoning": ReasoningJudge,
    "schema-less": SchemaLessJudge,
    "refusing": RefusingJudge,
    "slow": SlowJudge,
    "thinking": ThinkingJudge,
}


def stub_judge(behaviour: str) -> LocalJudge:
    """Return the judge of this name; `tests.support.batch_server.BatchServer` is the one with a batch API."""
    return STUB_JUDGES[behaviour]()
