"""Structured output: support for JSON schemas is detected once; tested with the simulated judge over HTTP."""

import asyncio
from dataclasses import replace

import pytest

from cyclealign.chat_api.client import JudgeClient
from cyclealign.chat_api.json_schema import JsonSchemaClient, reply_format
from cyclealign.chat_api.scheduler import gather_all
from cyclealign.config import JudgeSettings
from cyclealign.demo.judge.process import SimulatedJudge
from cyclealign.errors import JudgeCallFailed, JudgeFaltered, RequestRefused
from cyclealign.judge.reply_parser import read_reasons
from cyclealign.judge.verdicts import parse_verdict
from cyclealign.records import SIMULATED_MODEL, Reply
from tests.judge.test_methods import call


class Endpoint:
    """Supports or refuses a schema, raises scripted errors, and records the requests."""

    def __init__(self, supported=True, errors=()):
        self.supported, self.errors, self.seen = supported, list(errors), []

    async def complete(self, asked):
        self.seen.append(asked.reply_format is not None)
        if self.errors:
            raise self.errors.pop(0)
        if asked.reply_format and not self.supported:
            raise RequestRefused("Status 400: no response_format")
        return Reply("fine", "m", 1, 1, 0.0, 0.0)


def ask(endpoint, count, known=None, recorded=None):
    async def run():
        structured = JsonSchemaClient(endpoint.complete, known, (recorded if recorded is not None else []).append)
        return await gather_all(structured(call(number)) for number in range(count))

    return asyncio.run(run())


def test_an_endpoint_with_support_gets_a_schema_with_every_call():
    """Prevents support that is detected but not used."""
    recorded = []
    endpoint = Endpoint()
    ask(endpoint, 4, recorded=recorded)
    assert (endpoint.seen, recorded) == ([True] * 4, [True])


def test_an_endpoint_without_support_refuses_only_once():
    """Prevents each call of a round from being refused first."""
    recorded = []
    endpoint = Endpoint(supported=False)
    assert len(ask(endpoint, 4, recorded=recorded)) == 4
    assert (endpoint.seen, recorded) == ([True, False, False, False, False], [False])


@pytest.mark.parametrize("known", [True, False])
def test_known_support_is_not_detected_again(known):
    """Prevents one refused request per run."""
    recorded = []
    endpoint = Endpoint(supported=known)
    ask(endpoint, 2, known, recorded)
    assert (endpoint.seen, recorded) == ([known] * 2, [])


def test_a_fault_says_nothing_about_schemas():
    """Prevents one timeout, or an invalid request, from disabling schemas permanently."""
    for errors in ([JudgeFaltered("cut")], [RequestRefused("too long"), RequestRefused("too long")]):
        recorded = []
        endpoint = Endpoint(errors=errors)
        with pytest.raises(JudgeCallFailed):
            ask(endpoint, 1, recorded=recorded)
        assert recorded == []


def test_the_schema_allows_exactly_the_labels():
    """Prevents replies with labels that cannot be matched to answers."""
    schema = reply_format(["K7", "M3"], reasons=True)["json_schema"]["schema"]
    assert schema["properties"]["ranking"]["items"]["enum"] == ["K7", "M3"]
    assert list(schema["properties"]) == ["reasons", "ranking"]  # reasons first: the ranking then follows from them
    assert "reasons" not in reply_format(["K7"], reasons=False)["json_schema"]["schema"]["properties"]


def test_the_key_of_a_call_does_not_depend_on_the_endpoint():
    """Prevents paying again for stored replies when another endpoint serves the same judge."""
    assert replace(call(), reply_format=reply_format(["K7"], False)).key == call().key


@pytest.mark.parametrize("support", ["take", "refuse"])
@pytest.mark.parametrize("reasons", [False, True])
def test_both_paths_give_the_same_verdict_over_http(support, reasons):
    """Prevents an untested path for endpoints without support."""
    recorded = []
    asked = replace(call(reasons=reasons), model=SIMULATED_MODEL)

    async def run(address):
        async with JudgeClient(JudgeSettings(), address, "no-key") as client:
            return await JsonSchemaClient(client.complete, None, recorded.append, reasons)(asked)

    with SimulatedJudge(json_schema=support) as judge:
        found = asyncio.run(run(judge.base_url))
    assert recorded == [support == "take"]
    assert len(parse_verdict(asked, found)) == 4
    assert bool(read_reasons(found.text, [label for label, _ in asked.shown])) == reasons
