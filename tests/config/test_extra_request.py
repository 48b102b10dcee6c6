"""Settings that add to the judge's requests hold no secret and contradict no other setting."""

import pytest

from cyclealign.chat_api.client import request_parameters
from cyclealign.config import JudgeSettings, checked
from cyclealign.errors import BadConfig

KEY = "-".join(["sk", "proj", "0123456789abcdefABCDEF"])


def refused(**judge):
    with pytest.raises(BadConfig) as caught:
        checked({"judge": {"kind": "openai", "model": "m", **judge}}, "my.toml")
    assert KEY not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": "$NAME"}, {"X-Api-Key": "abc"}, {"X-Title": KEY}, {"X-Title": f"Bearer {KEY}"}, {"X Y": "z"}],
)
def test_a_header_with_a_secret_is_refused(headers):
    """Prevents a key from reaching the database with the settings of a round."""
    assert "judge.extra_headers" in refused(extra_headers=headers)


def test_a_header_from_a_variable_and_a_plain_one_are_taken():
    headers = {"api-key": "$AZURE_KEY", "HTTP-Referer": "https://example.org", "X-Title": "trial 7"}
    assert JudgeSettings(extra_headers=headers).extra_headers == headers


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "temperature", "stream", "n", "messages"])
def test_a_parameter_with_a_setting_of_its_own_is_refused(name):
    """Prevents two values for one parameter, of which one is ignored, and replies in a form that is not read."""
    assert f"'{name}'" in refused(extra_body={name: 1})


def test_a_key_in_the_address_is_refused_without_being_shown():
    """Prevents a key in the path from reaching the database, logs and messages."""
    assert "key" in refused(base_url=f"https://example.org/{KEY}/v1")
    gateway = "https://gateway.example.org/v1/0123456789abcdef0123456789abcdef/name/openai"
    assert JudgeSettings(base_url=gateway).base_url == gateway


def test_settings_that_are_not_given_add_nothing_to_a_request():
    """Prevents new settings from changing the keys of stored calls, which would pay for all of them again."""
    assert request_parameters(JudgeSettings()) == (("max_tokens", 256), ("temperature", 0.0))
    parameters = request_parameters(
        JudgeSettings(temperature="none", reasoning_effort="low", extra_body={"top_p": 0.5, "a": [1]})
    )
    assert parameters == (("max_tokens", 256), ("reasoning_effort", "low"), ("a", [1]), ("top_p", 0.5))
