"""The health gate in the flow: an unfit judge is refused before anything is trained, a fit one is asked no more."""

import json

import pytest

from cyclealign.evaluation.metric_table import find_metric
from cyclealign.judge.controls import REQUESTS_PER_LIST
from cyclealign.store import Store
from tests.support.local_judge import most_words_first

LISTS = 4


@pytest.fixture
def gated(bench):
    bench.set("health", lists=LISTS)
    return bench


def purposes(bench):
    found = bench.query(
        "SELECT number, purpose, count(*) FROM judge_call JOIN round ON round.id = round_id GROUP BY number, purpose"
    )
    return {(number, purpose): count for number, purpose, count in found}


def detail(number=1):
    with Store.open() as store:
        return store.history.detail("bench", number)


def fewest_characters_first(answers):
    return json.dumps({"ranking": [label for label, text in sorted(answers, key=lambda each: (len(each[1]), each[1]))]})


def first_shown_first(answers):
    return json.dumps({"ranking": [label for label, _ in answers]})


def test_a_fit_judge_passes_and_is_examined_anew_each_round(gated):
    """Prevents a gate that stops everybody, and one that is passed once for all rounds."""
    gated.set("acceptance", min_win_rate=0.0)
    code, output = gated.run(rounds=2)
    assert code == 0, output
    asked = purposes(gated)
    assert asked[1, "health"] == asked[2, "health"] == LISTS * REQUESTS_PER_LIST
    first = gated.judge.bodies[: LISTS * REQUESTS_PER_LIST]
    assert all("yes" in body["messages"][1]["content"] for body in first), "controls come before anything else"
    metrics = gated.rounds()[1]["metrics"]
    assert {name: each.value for name, each in metrics.items() if name.startswith("health")} == {
        "health_accuracy": 1.0,
        "health_swap": 1.0,
        "health_repeat": 1.0,
        "health_junk": 1.0,
        "health_injection": 1.0,
    }
    assert (metrics["health_junk"].count, gated.rounds()[1]["notes"]) == (2 * LISTS, {})


def test_a_judge_that_no_one_can_read_stops_the_round_before_anything_is_generated(gated):
    """Prevents a whole round of paid replies in a form that the reader refuses, after controls that showed it."""
    gated.judge.script = lambda answers: "From worst to best: " + ", ".join(label for label, _ in answers)
    code, output = gated.run()
    assert code == 1, output
    assert "No reply of the judge to its control lists gives a readable verdict" in output
    assert {purpose for _, purpose in purposes(gated)} == {"health"}
    assert not any(prompt["candidates"] for prompt in detail()["prompts"])
    asked = len(gated.judge.bodies)
    assert gated.run()[0] == 1
    assert len(gated.judge.bodies) == asked, "no reply is paid twice"
    assert gated.command("abandon", "bench")[0] == 0
    gated.judge.script = most_words_first
    gated.set("judge", reasons=True)  # other requests: those of before have their replies
    assert gated.run()[0] == 0


@pytest.mark.parametrize(
    ("script", "control"), [(fewest_characters_first, "health_junk"), (first_shown_first, "health_swap")]
)
def test_an_unfit_judge_is_refused_before_anything_is_generated(gated, script, control):
    """Prevents a policy that is trained on the verdicts of a judge that likes empty answers, or the first place."""
    gated.judge.script = script
    code, output = gated.run()
    assert code == 1, output
    assert "JudgeUntrusted" in output
    assert control in output
    assert "cyclealign history bench --round 1" in output
    row = detail()
    assert (row["summary"]["verdict"], row["adapter"]) == ("rolled_back", None)
    assert control in row["summary"]["reason"]
    assert control in row["notes"]["health"]
    assert not any(each["candidates"] for each in row["prompts"])
    assert set(purposes(gated)) == {(1, "health")}
    shown = gated.command("history", "bench", "--round", "1")[1]
    assert shown.count("> control: junk") == 2 * LISTS
    assert "refused before training" in shown
    assert (gated.home / "home" / "reports" / "bench.svg").is_file()


def test_a_refused_experiment_goes_on_once_the_judge_is_mended(gated):
    """Prevents a refusal that blocks an experiment for good, and one that uses up prompts nobody answered."""
    gated.judge.script = fewest_characters_first
    gated.run(until=1)
    gated.judge.script = most_words_first
    code, output = gated.run(until=1)
    assert code == 0, output
    assert [row["verdict"] is not None for row in gated.rounds()] == [True, True]
    assert not gated.rounds()[1]["notes"]
    drawn = [{each["id"] for each in detail(number)["prompts"] if each["purpose"] == "train"} for number in (1, 2)]
    assert drawn[0] == drawn[1]


def test_an_examination_that_was_cut_off_goes_on_and_asks_nothing_again(gated):
    """Prevents controls that are paid for twice, or skipped because some of them were answered."""
    gated.set("judge", concurrency=1)
    gated.judge.status = lambda number: 200 if number < 5 else 401
    code, output = gated.run()
    assert (code, "JudgeUnavailable" in output) == (1, True)
    gated.judge.status = None
    code, output = gated.run()
    assert code == 0, output
    assert purposes(gated)[1, "health"] == LISTS * REQUESTS_PER_LIST
    assert max(gated.judge.answered.values()) == 1


def test_a_judge_that_broke_after_the_gate_is_not_examined_again_in_that_round(gated):
    """Prevents a resumed round from asking controls that it has passed, failed calls included."""
    controls = LISTS * REQUESTS_PER_LIST
    gated.set("judge", concurrency=1)
    gated.judge.status = lambda number: 500 if number == 3 else 200 if number < controls else 401
    assert gated.run()[0] == 1
    gated.judge.status = None
    code, output = gated.run()
    assert code == 0, output
    found = gated.query("SELECT status, count(*) FROM judge_call WHERE purpose = 'health' GROUP BY status")
    assert dict(found) == {"answered": controls - 1, "failed": 1}


def test_no_controls_are_asked_where_they_are_switched_off(gated):
    gated.set("health", lists=0)
    assert gated.run()[0] == 0
    assert (1, "health") not in purposes(gated)
    assert not gated.rounds()[0]["notes"]


def test_a_set_without_labels_has_no_gate_and_the_history_says_so(gated):
    """Prevents an unexamined judge from looking like one that was found fit."""
    plain = gated.home / "plain.jsonl"
    plain.write_text("\n".join(json.dumps({"prompt": f"how do i bake bread {n}"}) for n in range(40)))
    gated.command("prompts", "import", str(plain), "--set", "plain", "--held-out-share", "0.3")
    gated.set("prompts", set_name="plain")
    gated.set("demonstrations", static=6)
    code, output = gated.run()
    assert code == 0, output
    assert (1, "health") not in purposes(gated)
    assert "no labelled lists" in gated.rounds()[0]["notes"]["health"]
    assert "health: unknown" in gated.command("history", "bench", "--round", "1")[1]


def test_written_demonstrations_that_are_not_shown_serve_where_there_are_no_labels(gated):
    """Prevents a gate that is silently off for everybody who has prompts and no labels."""
    plain = gated.home / "plain.jsonl"
    plain.write_text("\n".join(json.dumps({"prompt": f"how do i bake bread {n}"}) for n in range(40)))
    gated.command("prompts", "import", str(plain), "--set", "plain", "--held-out-share", "0.3")
    gated.set("prompts", set_name="plain")
    gated.set("demonstrations", static=2)
    gated.judge.script = fewest_characters_first
    code, output = gated.run()
    assert (code, "JudgeUntrusted" in output) == (1, True)
    assert purposes(gated)[1, "health"] == LISTS * REQUESTS_PER_LIST


def test_a_round_measures_the_biases_of_its_judge_and_judges_are_compared(gated):
    """Prevents a judge that likes places from training a policy for rounds without anybody seeing it."""
    gated.judge.script = first_shown_first
    gated.set("health", min_position_consistency=0.0, min_junk_refused=0.0)
    gated.set("training", objective="pro", target="agreement")
    gated.run()
    metrics = gated.rounds()[0]["metrics"]
    assert all(find_metric(name) for name in metrics), "every metric of a round has an entry in the table of metrics"
    assert metrics["judge_first_bias"].value == metrics["judge_wins_at_1"].value == 1.0
    assert metrics["judge_position_consistency"].value == metrics["judge_wins_at_4"].value == 0.0
    code, output = gated.command("judges", "bench", "--json")
    assert code == 0, output
    (row,) = json.loads(output[output.index("[") :])
    assert (row["model"], row["rounds"], row["calls"]) == ("local", 1, sum(gated.judge.answered.values()))
    assert row["figures"]["judge_first_bias"] == 1.0
    assert "bias to the first (tau) │ 1.00" in gated.command("judges")[1]
