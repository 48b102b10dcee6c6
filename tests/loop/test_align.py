"""The loop with a tiny model and a local judge: a round's rows and files, and its errors."""

import json
import threading
from pathlib import Path

import pytest

from cyclealign.config import load_config
from cyclealign.loop.align import align
from cyclealign.policy.weights import ADAPTER_WEIGHTS, content_hash
from cyclealign.records import content_id
from cyclealign.store import Store
from tests.support.tiny import make_model


def detail(number=1):
    with Store.open() as store:
        return store.history.detail("bench", number)


ROUND_1 = ("history", "bench", "--round", "1")


def test_two_rounds_use_fresh_prompts_and_go_on_from_the_accepted_adapter(bench):
    """Prevents a second round that is silently empty, or starts from the base model again."""
    bench.set("acceptance", min_win_rate=0.0)
    code, output = bench.run(rounds=2)
    assert code == 0, output
    first, second = detail(1), detail(2)
    drawn = [{each["id"] for each in row["prompts"] if each["purpose"] == "train"} for row in (first, second)]
    assert len(drawn[0]) == len(drawn[1]) == 4
    assert not drawn[0] & drawn[1]
    assert second["parent_adapter"] == first["adapter"]["id"]
    for row in (first, second):
        weights = Path(row["adapter"]["path"]) / ADAPTER_WEIGHTS
        assert content_hash(weights.parent) == row["adapter"]["content_hash"]
        assert {each["step"] for each in row["steps"]} == {
            "examine_judge",
            "watch_judge",
            "generate",
            "judge",
            "agree",
            "review",
            "teach",
            "answer_as_parent",
            "examine_policy",
            "train",
            "evaluate",
            "decide",
        }
        judged = [each for each in row["prompts"] if "judge" in each["rankings"]]
        assert all(set(each["rankings"]) == {"judge", "policy", "agreement"} for each in judged)
        assert judged


def test_a_finished_experiment_asks_nobody_and_costs_nothing(bench):
    """Prevents a repeated command from paying again."""
    bench.run(until=1)
    asked = sum(bench.judge.asked.values())
    code, _ = bench.run(until=1)
    assert code == 0
    assert sum(bench.judge.asked.values()) == asked
    assert len(bench.rounds()) == 1


def test_a_round_that_is_rolled_back_leaves_nothing_active(bench):
    """Prevents half of a refused round from living on: its adapter, its demonstrations or its template."""
    bench.set("acceptance", min_win_rate=1.0)
    bench.set("demonstrations", max_chance=1.0)
    bench.set("training", learning_rate=1e-12)
    code, output = bench.run(rounds=2)
    assert code == 0, output
    first, second = detail(1), detail(2)
    assert first["summary"]["verdict"] == second["summary"]["verdict"] == "rolled_back"
    assert first["demonstrations"]["promoted"]
    assert second["parent_adapter"] is None
    assert all(each["kind"] == "static" for each in second["demonstrations"]["in_use"])


def test_an_edited_template_stays_in_use_after_a_rollback_and_the_run_says_so(bench):
    """Prevents chance, which decides over many a round, from dropping a person's edit in silence."""
    folder = bench.home / "templates"
    folder.mkdir()
    for name in ("rank.jinja", "demonstrations.jsonl"):
        (folder / name).write_text((Path("prompts") / name).read_text())
    bench.set("", templates=str(folder))
    bench.set("acceptance", min_win_rate=0.0)
    bench.run()
    template = folder / "rank.jinja"
    template.write_text(template.read_text().replace("You rank", "You carefully rank"))
    bench.set("acceptance", min_win_rate=1.0)
    bench.set("training", learning_rate=1e-12)
    _, output = bench.run(rounds=2)
    used = [detail(number)["templates"][0]["hash"] for number in (1, 2, 3)]
    assert used[0] != used[1] == used[2]
    assert "The edit stays in use" in " ".join(output.split())


def test_agreed_rankings_become_demonstrations_of_the_next_round(bench):
    """Prevents a loop in which the judge is never taught."""
    bench.set("demonstrations", max_chance=1.0, dynamic=2)
    bench.set("acceptance", min_win_rate=0.0)
    bench.run(rounds=2)
    promoted = detail(1)["demonstrations"]["promoted"]
    in_use = [each for each in detail(2)["demonstrations"]["in_use"] if each["kind"] == "dynamic"]
    assert promoted
    assert {each["id"] for each in in_use} == {each["id"] for each in promoted}
    asked = [body["messages"][0]["content"] for body in bench.judge.bodies]
    assert any(promoted[0]["answers"][0] in system for system in asked)


def test_every_judge_call_says_what_it_was(bench):
    """Prevents labels of which nobody can tell the template, the judge or the order shown."""
    bench.run()
    rows = bench.query(
        "SELECT call.messages, call.shown, call.reply, call.returned_model, call.prompt_tokens, template.text "
        "FROM judge_call AS call JOIN template ON template.hash = call.template_hash"
    )
    (spending,) = bench.query("SELECT sum(answered_calls) FROM judge_spending")
    assert len(rows) == sum(bench.judge.answered.values()) == spending[0]
    for messages, shown, reply, model, tokens, text in rows:
        assert "You rank the answers" in text
        labels = [label for label, _ in json.loads(shown)]
        assert sorted(json.loads(reply)["ranking"]) == sorted(labels)
        assert all(label in json.loads(messages)[1]["content"] for label in labels)
        assert (model, tokens) == ("local-judge-1", 100)


def refused(bench, *fragments, experiment="bench"):
    """The run ends with an error of the project's own whose message has the fragments."""
    code, output = bench.run()
    assert code == 1, output
    for fragment in fragments:
        assert fragment in output
    return output


def goes_on(bench):
    """After the mistake is mended the same command finishes the round, and nothing answered is asked again."""
    code, output = bench.run()
    assert code == 0, output
    assert len(bench.rounds()) == 1
    assert max(bench.judge.answered.values()) == 1


def test_an_unknown_setting(bench):
    bench.set("judge", modle="x")
    refused(bench, "BadConfig", "unknown setting 'judge.modle'")


def test_a_missing_model_folder(bench):
    bench.set("policy", model="/nowhere/model")
    refused(bench, "PolicyError", "/nowhere/model", "no such folder")
    assert not bench.rounds()


def test_an_unreachable_judge(bench):
    address = bench.settings["judge"]["base_url"]
    bench.set("judge", base_url="http://127.0.0.1:9/v1")
    refused(bench, "JudgeUnavailable", "127.0.0.1:9", "does not respond", "rerun")
    bench.set("judge", base_url=address)
    goes_on(bench)


def test_a_refused_key(bench):
    bench.judge.status = lambda number: 401
    output = refused(bench, "JudgeUnavailable", "TEST_JUDGE_KEY", "401")
    assert "secret" not in output
    bench.judge.status = None
    goes_on(bench)


def test_a_missing_key(bench, monkeypatch):
    monkeypatch.delenv("TEST_JUDGE_KEY")
    refused(bench, "BadConfig", "TEST_JUDGE_KEY")


def test_a_judge_that_does_not_rank(bench):
    bench.judge.script = lambda answers: "They are all lovely."
    refused(bench, "JudgeError", "0 of 4 prompts", "--failures")
    with Store.open() as store:
        open_round = store.rounds.unfinished("bench")
        assert not store.rankings.by_prompt(open_round.id, "judge")
        assert store.candidates.by_prompt(open_round.id)


def test_a_judge_that_fails_now_and_then(bench):
    """Prevents a failed call from becoming a label, and a whole round from being lost to it."""
    bench.set("judge", min_judged=0.0, num_orders=1)
    bench.judge.status = lambda number: 500 if number in {1, 2} else 200
    code, output = bench.run()
    assert code == 0, output
    row = detail()
    unjudged = [each for each in row["prompts"] if each["purpose"] == "train" and "judge" not in each["rankings"]]
    assert len(unjudged) == 2
    assert all(each["agreement"] is None for each in unjudged)
    assert len(row["failed_calls"]) == 2
    assert "unjudged: 0 of 1 requests gave a readable verdict. The call failed:" in bench.command(*ROUND_1)[1]


def test_replies_that_need_a_repair_are_put_right_and_told_of(bench):
    """Prevents a slip in a reply from losing a verdict, and a repair from going unseen; ties stay undecided."""

    def slips(answers):
        return " = ".join(label for label, _ in answers) if repaired() else "They are all fine."

    def repaired():
        return "could not be used" in bench.judge.bodies[-1]["messages"][-1]["content"]

    bench.judge.script = slips
    bench.set("judge", concurrency=1)
    bench.set("training", objective="pro")
    code, output = bench.run()
    assert code == 1
    assert "training.min_preference" in output
    row = detail()
    assert all("judge" in each["rankings"] for each in row["prompts"] if each["purpose"] == "train")
    assert {each["problem"][:17] for each in row["unreadable_replies"]} == {"The reply holds n"}
    assert {pair["share"] for each in row["prompts"] for pair in preferences(each)} == {0.5}
    assert "undecided: 1 and 2" in bench.command(*ROUND_1)[1]
    assert "Unreadable: The reply holds no" in bench.command("history", "bench", "--failures")[1]


def preferences(prompt):
    return prompt["rankings"].get("judge", {}).get("preferences", [])


def test_a_prompt_longer_than_the_context(bench):
    bench.set("policy", max_new_tokens=120)
    refused(bench, "PolicyError", "does not fit the model's context of 128", 'prompts.too_long = "skip"')


def test_a_limit_that_leaves_no_room_for_any_prompt(bench):
    """Prevents a message without a setting, where all prompts are left out as too long."""
    bench.set("policy", max_new_tokens=127)
    bench.set("prompts", too_long="skip")
    refused(bench, "PolicyError", "policy.max_new_tokens = 127 leaves no room", "context of 128 tokens")


def test_answers_cut_at_the_limit(bench):
    bench.set("policy", max_new_tokens=1, max_truncated=0.1)
    refused(bench, "PolicyError", "were cut at policy.max_new_tokens = 1", "max_truncated")


def test_fewer_than_two_distinct_answers(bench):
    bench.set("policy", top_p=1e-6)
    refused(bench, "PolicyError", "No prompt got two different answers", "policy.temperature")


def test_a_model_that_answers_with_nothing(bench):
    """Prevents empty answers from being ranked."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = make_model(bench.home / "silent")
    weights = load_file(folder / "model.safetensors")
    name = "lm_head.weight" if "lm_head.weight" in weights else "model.embed_tokens.weight"
    weights["model.norm.weight"] = torch.zeros_like(weights["model.norm.weight"])
    assert name in weights
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    bench.set("policy", model=str(folder), max_new_tokens=1, top_p=0.01)
    refused(bench, "PolicyError", "not empty")


def test_no_prompts_left(bench):
    bench.set("prompts", per_round=1000)
    bench.set("acceptance", min_win_rate=0.0)
    bench.run()
    refused(bench, "StoreError", "no prompt left", "cyclealign prompts import")


def test_an_unknown_prompt_set(bench):
    bench.set("prompts", set_name="other")
    refused(bench, "NoSuchExperiment", "'other'", "cyclealign prompts import")


def test_another_base_model(bench):
    """Prevents adapters of one model from being put on another."""
    bench.run()
    bench.set("policy", model=str(make_model(bench.home / "other")))
    refused(bench, "BadConfig", "began with the model")


def test_a_database_of_a_newer_revision(bench):
    (revision,) = bench.query("SELECT version_num FROM cyclealign_revision")
    bench.query("UPDATE cyclealign_revision SET version_num = '9999'")
    refused(bench, "NewerDatabase")
    bench.query(f"UPDATE cyclealign_revision SET version_num = '{revision[0]}'")  # PostgreSQL's schema is used again


def test_a_second_start_refuses_by_name_while_the_first_is_at_work(bench):
    """Prevents two runs from advancing one experiment at once."""
    reached, go_on = threading.Event(), threading.Event()
    script = bench.judge.script

    def slow(answers):
        reached.set()
        go_on.wait(120)
        return script(answers)

    bench.judge.script = slow
    config = load_config(bench.write())
    first = threading.Thread(target=align, args=(config,))
    first.start()
    try:
        assert reached.wait(120)
        refused(bench, "ExperimentBusy", "bench")
    finally:
        go_on.set()
        first.join()
    assert [row["verdict"] is not None for row in bench.rounds()] == [True]


def test_history_for_programs_has_every_promised_key(bench):
    bench.run()
    code, output = bench.command("history", "--json")
    assert code == 0
    (row,) = json.loads(output)
    wanted = (
        "experiment number verdict agreement_tau agreement_chance judge_accuracy win_rate win_rate_low win_rate_high "
        "gold_quality judge_calls judge_tokens cost_usd seconds"
    )
    assert set(wanted.split()) <= set(row)
    assert row["judge_calls"] == sum(bench.judge.answered.values())
    assert "how do i" in bench.command("history", "bench", "--round", "1")[1]
    assert bench.command("history", "nobody")[0] == 1


@pytest.mark.parametrize("objective", ["pro", "dpo"])
def test_the_other_objectives_run_behind_the_same_setting(bench, objective):
    bench.set("training", objective=objective)
    bench.set("", seed=int(content_id(objective)[:4], 16))
    code, output = bench.run()
    assert code == 0, output
