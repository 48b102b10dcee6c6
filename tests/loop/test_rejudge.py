"""A stored round is ranked by another judge or template: flips are shown, the round does not change."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cyclealign.config import JudgeSettings
from cyclealign.judge.comparison import Overrides
from cyclealign.loop.overrides import judge_for, settings_for
from cyclealign.store import Store
from tests.support.local_judge import LocalJudge, most_words_first


def detail(number=1):
    with Store.open() as store:
        return store.history.detail("bench", number)


def replayed(bench, *options):
    code, output = bench.command("rejudge", "bench", "--round", "1", "--yes", "--json", *options)
    assert code == 0, output
    return json.loads(output[output.index("{") :])


def reversed_order(answers):
    return json.dumps({"ranking": json.loads(most_words_first(answers))["ranking"][::-1]})


@pytest.fixture
def finished(bench):
    """A round that is over, and a folder with an edited template."""
    bench.set("judge", usd_per_million_prompt_tokens=1.0, usd_per_million_completion_tokens=1.0)
    code, output = bench.run()
    assert code == 0, output
    folder = bench.home / "edited"
    folder.mkdir()
    text = Path("prompts/rank.jinja").read_text()
    (folder / "rank.jinja").write_text(text.replace("from best to worst.", "from worst to best."))
    return bench


def test_a_judge_that_turns_round_under_another_template_flips_every_pair_and_the_round_stays(finished):
    """Prevents an edit of the template from being tried on labels that count, or at the cost of a round."""
    before, asked = detail(), sum(finished.judge.asked.values())
    finished.judge.script = reversed_order
    found = replayed(finished, "--template", str(finished.home / "edited"))
    assert (found["flips"]["value"], found["tau"]["value"], found["lists"], found["unread"]) == (1.0, -1.0, 4, 0)
    assert found["cost"] == found["paid_now"] == {"calls": 8, "tokens": 880, "usd": pytest.approx(880e-6)}
    assert sum(finished.judge.asked.values()) == asked + 8
    after = detail()
    (row,) = after.pop("rejudgements")
    assert (row["flips"], row["tau"], row["calls"]) == (1.0, -1.0, 8)
    before.pop("rejudgements")
    assert after == before, "the round's rankings, metrics, calls and cost are those of the round"
    assert "flips 1.00" in finished.command("history", "bench", "--round", "1")[1]


def test_the_same_replay_again_asks_nobody(finished):
    """Prevents a kill, or a second look, from being paid for."""
    options = ("--template", str(finished.home / "edited"))
    first = replayed(finished, *options, "--prompts", "2")
    asked = sum(finished.judge.asked.values())
    again = replayed(finished, *options, "--prompts", "2")
    assert sum(finished.judge.asked.values()) == asked
    assert (again["cost"], again["paid_now"]["calls"]) == (first["cost"], 0)
    assert len(detail()["rejudgements"]) == 1
    whole = replayed(finished, *options)
    assert (whole["lists"], whole["paid_now"]["calls"], len(detail()["rejudgements"])) == (4, 4, 2)


def test_only_what_was_changed_differs(finished):
    """Prevents other orders or labels from being taken for the effect of the change: the same request is free."""
    asked = sum(finished.judge.asked.values())
    found = replayed(finished, "--demonstrations", "static")
    assert sum(finished.judge.asked.values()) == asked
    assert (found["flips"]["value"], found["tau"]["value"], found["cost"]["calls"]) == (0.0, 1.0, 0)
    replayed(finished, "--demonstrations", "none")
    ours = finished.judge.bodies[asked:]
    assert {body["messages"][1]["content"] for body in ours} <= {
        body["messages"][1]["content"] for body in finished.judge.bodies[:asked]
    }
    assert not any("Example 1" in body["messages"][0]["content"] for body in ours)


def test_all_demonstrations_are_those_in_use_now_but_for_the_question_s_own(bench):
    """Prevents a list from being ranked with the round's own verdict on it before the judge's eyes."""
    bench.set("policy", answers=6)
    bench.set("demonstrations", max_chance=1.0, static=1)
    code, output = bench.run()
    assert code == 0, output
    own = {each["question"] for each in detail()["demonstrations"]["promoted"]}
    assert own
    asked = len(bench.judge.bodies)
    found = replayed(bench, "--demonstrations", "all")
    for body in bench.judge.bodies[asked:]:
        system, user = (message["content"] for message in body["messages"])
        shown = {question for question in own if f"]]\n{question}\n[[" in system}
        assert shown == {question for question in own if f"]]\n{question}\n[[" not in user}
    assert found["demonstrations"] == "all"


def test_another_judge_at_another_address(finished):
    """Prevents the old judge from being asked under the new one's name, and the old price from being counted."""
    with LocalJudge(reversed_order) as other:
        found = replayed(finished, "--judge", "another", "--base-url", other.url, "--key-variable", "TEST_JUDGE_KEY")
        assert {body["model"] for body in other.bodies} == {"another"}
    assert (found["model"], found["flips"]["value"], found["cost"]["usd"]) == ("another", 1.0, 0.0)


OTHER_KEY = ("--key-variable", "OTHER_KEY")


def test_another_judge_under_the_old_name_is_refused(finished):
    """Prevents the round's own replies from being recalled as another judge's, which would agree in everything."""
    options = ("rejudge", "bench", "--round", "1", "--yes")
    with LocalJudge(reversed_order) as other:
        code, output = finished.command(*options, "--base-url", other.url, *OTHER_KEY)
    assert (code, "give the other judge a name of its own with --judge" in output) == (1, True)
    finished.set("judge", base_url="http://127.0.0.1:9/v1")
    code, output = finished.command(*options, "--config", str(finished.write()))
    assert (code, "Replies are known by the model's name" in output) == (1, True)


def test_a_key_goes_to_another_host_only_if_that_host_s_variable_is_named(finished, monkeypatch):
    """Prevents the round's key from being handed to whoever is at the other address."""
    monkeypatch.setenv("OTHER_KEY", "their-own-secret")
    options = ("rejudge", "bench", "--round", "1", "--judge", "another", "--base-url")
    with LocalJudge(reversed_order) as other:
        code, output = finished.command(*options, other.url, "--yes")
        assert (code, "--key-variable NAME" in output, other.bodies) == (1, True, [])
        code, output = finished.command(*options, other.url, *OTHER_KEY)
        assert f"'another' at {other.url} (key in OTHER_KEY)" in output
        assert "their-own-secret" not in output
        replayed(finished, *options[4:], other.url, *OTHER_KEY)
    code, output = finished.command(*options, finished.judge.url)
    assert "(key in TEST_JUDGE_KEY)" in output, "the round's own address needs no new leave"


def test_headers_and_parameters_of_the_round_s_provider_stay_with_its_host():
    """Prevents a secret in a header from being handed to another provider."""
    own = JudgeSettings(
        kind="openai", model="m", base_url="http://here/v1", extra_headers={"X-Key": "$NAME"}, extra_body={"top_k": 1}
    )
    assert judge_for(own, Overrides(judge="n", base_url="http://there/v1"))["extra_headers"] == {}
    assert judge_for(own, Overrides(judge="n", base_url="http://there/v1"))["extra_body"] == {}
    assert "extra_headers" not in judge_for(own, Overrides(judge="n", base_url="http://here/v2"))


def test_a_file_changes_only_the_sections_that_it_has(finished):
    """Prevents a raised budget from bringing the default judge with it, and another judge from lifting the budget."""
    finished.set("budget", calls=3)
    whole, part = finished.write().read_text(), finished.home / "part.toml"
    part.write_text("[budget]\ncalls = 3\n")
    with Store.open() as store:
        round_ = store.rounds.get("bench", 1)
    budget = settings_for(round_, Overrides(config=part))
    assert (budget.judge.model, budget.budget.calls) == ("local", 3)
    part.write_text(whole[whole.index("[judge]") : whole.index("[training]")])
    limited = replace(round_, plan=replace(round_.plan, settings={**round_.plan.settings, "budget": {"usd": 2.0}}))
    assert settings_for(limited, Overrides(config=part)).budget.usd == 2.0


def test_without_a_key_nobody_is_asked_for_a_yes(finished, monkeypatch):
    """Prevents a yes that leads nowhere."""
    monkeypatch.delenv("TEST_JUDGE_KEY")
    code, output = finished.command("rejudge", "bench", "--round", "1", "--demonstrations", "none")
    assert (code, "set the environment variable TEST_JUDGE_KEY" in output) == (1, True)
    assert "Confirm with --yes" not in output
    assert replayed(finished, "--demonstrations", "static")["cost"]["calls"] == 0, "stored replies want no key"


def test_a_judge_that_goes_by_the_place_alone_decides_no_pair(finished):
    """Prevents "n/a of the decided pairs" from being read as a figure."""
    finished.judge.script = lambda answers: json.dumps({"ranking": [label for label, _ in answers]})
    options = ("--yes", "--demonstrations", "none")
    code, output = finished.command("rejudge", "bench", "--round", "1", *options)
    assert (code, "0 pairs decided both times flips: no pair decided both times" in output) == (0, True), output


def test_an_unknown_price_is_said_once(finished, caplog):
    """Prevents one lack from looking like two."""
    replayed(finished, "--judge", "unpriced")
    assert [record.message for record in caplog.records if "No price" in record.message] == [
        "No price for 'unpriced' in prices.toml: its calls are counted as free."
    ]


def test_it_says_what_it_costs_and_does_nothing_without_a_yes(finished):
    """Prevents money from being spent by a command that was meant as a question."""
    asked = sum(finished.judge.asked.values())
    code, output = finished.command("rejudge", "bench", "--round", "1", "--demonstrations", "none")
    assert code == 1
    assert "4 lists of round 1: at most 8 calls to 'local'" in output
    assert "Confirm with --yes" in output
    assert (sum(finished.judge.asked.values()), detail()["rejudgements"]) == (asked, [])


def test_the_round_s_budget_holds_and_what_was_answered_is_kept(finished):
    """Prevents a replay from spending what the experiment does not have, or from losing what it paid for."""
    spent = sum(finished.judge.asked.values())
    config = finished.home / "less.toml"
    finished.set("budget", calls=spent + 3)
    finished.set("judge", concurrency=1)
    config.write_text(finished.write().read_text())
    options = ("rejudge", "bench", "--round", "1", "--yes", "--config", str(config), "--demonstrations", "none")
    code, output = finished.command(*options)
    assert (code, "`--config FILE`, a TOML file with a raised [budget]" in output) == (1, True)
    assert "rerun the same command" not in output
    assert sum(finished.judge.asked.values()) == spent + 3
    finished.set("budget", calls=spent + 8)
    config.write_text(finished.write().read_text())
    code, output = finished.command(*options)
    assert code == 0, output
    assert sum(finished.judge.asked.values()) == spent + 8


def test_a_judge_without_a_readable_verdict_is_no_comparison(finished):
    """Prevents silence from being reported as agreement."""
    finished.judge.script = lambda answers: "They are all fine."
    code, output = finished.command("rejudge", "bench", "--round", "1", "--yes", "--demonstrations", "none")
    assert (code, "no readable verdict on any of 4 lists" in output) == (1, True)
    assert detail()["rejudgements"] == []
    assert "rejudge" in finished.command("history", "bench", "--failures")[1]


def test_what_cannot_be_replayed_is_said(finished):
    """Prevents a replay that changes nothing, or of nothing, from passing for a result."""
    assert "Nothing is changed" in finished.command("rejudge", "bench", "--round", "1", "--yes")[1]
    assert "no round 7" in finished.command("rejudge", "bench", "--round", "7", "--judge", "x", "--yes")[1]


def test_a_round_that_is_still_open_is_replayed_and_goes_on(bench):
    """Prevents a look at half a round from taking it away from its run."""
    bench.set("budget", calls=9)  # its eight rankings and little else
    assert bench.run()[0] == 1
    found = replayed(bench, "--demonstrations", "static", "--prompts", "2")
    assert found["lists"] == 2
    bench.set("budget", calls=1000)
    code, output = bench.run()
    assert code == 0, output
    assert bench.query("SELECT count(*) FROM judge_call WHERE purpose = 'rejudge'") == [(0,)]


def test_no_policy_and_no_prefect_server_are_needed(finished, monkeypatch):
    """Prevents a question about stored answers from needing the GPU that made them."""
    monkeypatch.setattr("cyclealign.policy.transformers_policy.TransformersPolicy.__init__", refuse)
    assert replayed(finished, "--demonstrations", "none")["lists"] == 4


def refuse(*_, **__):
    raise AssertionError("the policy was loaded")
