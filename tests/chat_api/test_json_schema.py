"""Replies by JSON schema: whether an endpoint takes one is found out once, against the simulated judge over HTTP."""

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
from cyclealign.records import Reply
from tests.judge.test_methods import call


class Endpoint:
    """Refuses, falters or answers, as told; remembers what it was sent."""

    def __init__(self, takes=True, errors=()):
        self.takes, self.errors, self.seen = takes, list(errors), []

    async def complete(self, asked):
        self.seen.append(asked.reply_format is not None)
        if self.errors:
            raise self.errors.pop(0)
        if asked.reply_format and not self.takes:
            raise RequestRefused("Status 400: no response_format")
        return Reply("fine", "m", 1, 1, 0.0, 0.0)


def ask(endpoint, count, known=None, noted=None):
    async def run():
        structured = JsonSchemaClient(endpoint.complete, known, (noted if noted is not None else []).append)
        return await gather_all(structured(call(number)) for number in range(count))

    return asyncio.run(run())


def test_an_endpoint_that_takes_a_schema_gets_one_with_every_call():
    noted = []
    endpoint = Endpoint()
    ask(endpoint, 4, noted=noted)
    assert (endpoint.seen, noted) == ([True] * 4, [True])


def test_an_endpoint_that_takes_none_is_asked_once_in_vain():
    """Prevents every call of a round from being refused first."""
    noted = []
    endpoint = Endpoint(takes=False)
    assert len(ask(endpoint, 4, noted=noted)) == 4
    assert (endpoint.seen, noted) == ([True, False, False, False, False], [False])


@pytest.mark.parametrize("known", [True, False])
def test_what_is_known_is_not_found_out_again(known):
    noted = []
    endpoint = Endpoint(takes=known)
    ask(endpoint, 2, known, noted)
    assert (endpoint.seen, noted) == ([known] * 2, [])


def test_a_fault_says_nothing_about_schemas():
    """Prevents one time-out, or a request that is bad in itself, from switching schemas off for good."""
    for errors in ([JudgeFaltered("cut")], [RequestRefused("too long"), RequestRefused("too long")]):
        noted = []
        endpoint = Endpoint(errors=errors)
        with pytest.raises(JudgeCallFailed):
            ask(endpoint, 1, noted=noted)
        assert noted == []


def test_the_schema_allows_exactly_the_labels():
    schema = reply_format(["K7", "M3"], reasons=True)["json_schema"]["schema"]
    assert schema["properties"]["ranking"]["items"]["enum"] == ["K7", "M3"]
    assert list(schema["properties"]) == ["reasons", "ranking"]  # reasons first: the ranking then follows from them
    assert "reasons" not in reply_format(["K7"], reasons=False)["json_schema"]["schema"]["properties"]


def test_the_key_of_a_call_does_not_depend_on_the_endpoint():
    """Prevents stored replies from being paid for again where another endpoint serves the same judge."""
    assert replace(call(), reply_format=reply_format(["K7"], False)).key == call().key


@pytest.mark.parametrize("support", ["take", "refuse"])
@pytest.mark.parametrize("reasons", [False, True])
def test_both_paths_give_the_same_verdict_over_http(support, reasons):
    """Prevents the path that few endpoints take from being the one that nobody has tried."""
    noted = []
    asked = call(reasons=reasons)

    async def run(address):
        async with JudgeClient(JudgeSettings(), address, "no-key") as client:
            return await JsonSchemaClient(client.complete, None, noted.append, reasons)(asked)

    with SimulatedJudge(json_schema=support) as judge:
        found = asyncio.run(run(judge.base_url))
    assert noted == [support == "take"]
    assert len(parse_verdict(asked, found)) == 4
    assert bool(read_reasons(found.text, [label for label, _ in asked.shown])) == reasons
