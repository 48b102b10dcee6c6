"""Parameters that an endpoint refuses are found out once, remembered, and left out of later requests."""

import asyncio
import logging
from dataclasses import replace

import pytest

from cyclealign.chat_api.client import JudgeClient, request_body
from cyclealign.chat_api.json_schema import JsonSchemaClient
from cyclealign.chat_api.parameters import ParameterClient
from cyclealign.chat_api.provider_error import read_error
from cyclealign.chat_api.scheduler import gather_all
from cyclealign.config import JudgeSettings
from cyclealign.errors import JudgeCallFailed, JudgeFaltered, NothingToRead, RequestRefused
from cyclealign.judge.verdicts import parse_verdict
from cyclealign.records import Reply
from tests.judge.test_methods import call as rank_call
from tests.support.stub_judges import stub_judge

FINE = Reply("fine", "m", 1, 1, 0.0, 0.0)


def call(number):
    return replace(rank_call(number), parameters=(("max_tokens", 256), ("temperature", 0.0)))


class Endpoint:
    """Refuses the named parameters one by one, and keeps the bodies of requests."""

    def __init__(self, *refuses, errors=()):
        self.refuses, self.errors, self.bodies = refuses, list(errors), []

    async def complete(self, asked):
        body = request_body(asked)
        self.bodies.append(body)
        await asyncio.sleep(0)
        for parameter in self.refuses:
            if parameter in body:
                raise RequestRefused(f"Status 400: no {parameter}", parameter)
        if self.errors:
            raise self.errors.pop(0)
        return FINE


def ask(endpoint, count=1, known=(), one_first=True):
    """Return the names of the refusals that were recorded."""
    recorded = {}

    async def run():
        client = ParameterClient(endpoint.complete, known, recorded.__setitem__, one_first)
        await gather_all(client(call(number)) for number in range(count))

    asyncio.run(run())
    return recorded


def test_refused_parameters_are_found_out_by_the_first_call_alone(caplog):
    """Prevents each call of a round from being refused, and a setting from being dropped in silence."""
    endpoint = Endpoint("max_tokens", "temperature")
    with caplog.at_level(logging.WARNING):
        assert set(ask(endpoint, 6)) == {"max_tokens", "temperature"}
    assert len(endpoint.bodies) == 6 + 2
    assert all(body["max_completion_tokens"] == 256 and "temperature" not in body for body in endpoint.bodies[2:])
    assert len([line for line in caplog.messages if "refuses temperature" in line]) == 1


def test_known_refusals_are_not_tried_again():
    """Prevents two refused requests per run."""
    endpoint = Endpoint("max_tokens", "temperature")
    assert ask(endpoint, 3, known=("max_tokens", "temperature")) == {}
    assert len(endpoint.bodies) == 3


def test_a_request_that_is_refused_either_way_teaches_nothing():
    """Prevents one invalid request from removing the temperature of all later ones."""
    both = RequestRefused("Status 400: temperature is not supported beside so long a prompt")
    endpoint = Endpoint("temperature", errors=[both])
    with pytest.raises(RequestRefused):
        ask(endpoint)
    assert ask(endpoint) == {"temperature": "Status 400: no temperature"}


@pytest.mark.parametrize("error", [JudgeFaltered("cut"), RequestRefused("too long"), RequestRefused("no x", "x")])
def test_other_errors_are_raised_and_teach_nothing(error):
    """Prevents an endless loop of requests, and a parameter that is dropped for another reason."""
    endpoint = Endpoint(errors=[error])
    with pytest.raises(JudgeCallFailed):
        ask(endpoint)
    assert len(endpoint.bodies) == 1


def test_a_request_that_was_accepted_teaches_also_without_an_answer():
    """Prevents the first, cut reply of a reasoning judge from hiding what was found out."""
    recorded = {}
    endpoint = Endpoint("temperature", errors=[NothingToRead("cut", FINE, cut=True)])

    async def run():
        await ParameterClient(endpoint.complete, (), recorded.__setitem__)(call(0))

    with pytest.raises(NothingToRead):
        asyncio.run(run())
    assert set(recorded) == {"temperature"}


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"error": {"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
          "'max_completion_tokens' instead.", "param": "max_tokens", "code": "unsupported_parameter"}}, "max_tokens"),
        ({"error": {"message": "Unsupported value: 'temperature' does not support 0.0 with this model. Only the "
          "default (1) value is supported.", "param": "temperature", "code": "unsupported_value"}}, "temperature"),
        ({"error": {"message": "`temperature` is deprecated for this model."}}, "temperature"),
        ({"detail": [{"loc": ["body", "reasoning_effort"], "msg": "Extra inputs are not permitted"}]},
         "reasoning_effort"),
        ({"error": {"message": "Unrecognized request argument supplied: reasoning_effort"}}, "reasoning_effort"),
        ({"error": {"message": "Invalid parameter: 'response_format' of type 'json_schema' is not supported"}},
         "response_format"),
        ({"error": {"message": "Unsupported value: 'reasoning_effort' does not support 'hgih'. Supported values are: "
          "'low', 'high'.", "param": "reasoning_effort", "code": "unsupported_value"}}, None),
        ({"error": {"message": "max_tokens is too large: 99999. This model supports at most 16384 tokens."}}, None),
        ({"error": {"message": "temperature must be less than or equal to 1"}}, None),
        ({"error": {"message": "This model's maximum context length is 8192 tokens. Reduce max_tokens."}}, None),
        ({"error": {"message": "Unsupported image", "param": "messages"}}, None),
    ],
)  # fmt: skip
def test_the_refused_parameter_is_read_from_the_providers_error(body, parameter):
    """Prevents a wrong value of a setting from being dropped as if the endpoint did not take the setting."""
    assert read_error(400, body).parameter == parameter


def test_a_reasoning_judge_answers_over_http():
    """Prevents a reasoning judge from refusing every call of a run; with a schema that is still to be found out."""
    recorded, schemas = {}, []

    async def run(url):
        async with JudgeClient(JudgeSettings(kind="openai", model="m"), url, "a-key") as client:
            parameters = ParameterClient(client.complete, (), recorded.__setitem__)
            by_schema = JsonSchemaClient(parameters, None, schemas.append)
            with pytest.raises(NothingToRead, match=r"judge\.max_tokens"):
                await by_schema(call(0))
            longer = [replace(call(number), token_limit=2048) for number in range(1, 4)]
            return [(asked, await by_schema(asked)) for asked in longer]

    with stub_judge("reasoning") as judge:
        for asked, found in asyncio.run(run(judge.url)):
            assert len(parse_verdict(asked, found)) == 4
    assert (set(recorded), schemas, judge.refused) == ({"max_tokens", "temperature"}, [True], 2)
