"""QuantiDCE by its command: trained, found again, and used."""

import gc
import json
import weakref
from io import StringIO

import pytest
from rich.console import Console

from cyclealign.cli.score import Chosen, newest_metric, table_of
from cyclealign.distill.quantidce import data, model
from cyclealign.distill.quantidce.config import Config, EncoderSettings
from cyclealign.distill.quantidce.data import Scored
from cyclealign.distill.quantidce.job import examine, inputs
from cyclealign.records import content_id
from cyclealign.store import Store

pytestmark = pytest.mark.slow

TINY = """
runs = 1
[data]
contexts = 10
responses = 2
[encoder]
max_tokens = 48
head = [8, 4]
[pretraining]
epochs = 1
[tuning]
epochs = 1
"""


def test_a_metric_is_trained_and_scores_dialogues(command, tmp_path):
    """Prevents a job that ends with numbers and leaves nothing that can be used."""
    config, file = tmp_path / "tiny.toml", tmp_path / "dialogues.jsonl"
    config.write_text(TINY)
    file.write_text(
        json.dumps({"context": ["what about the soup tonight ?"], "response": "sure [b]tonight[/b]"}) + "\n"
    )
    assert "No metric was trained" in " ".join(command("distill", "score", str(file))[1].split())
    code, output, _ = command("distill", "run", "quantidce", str(config), "--json")
    assert code == 0
    measures = json.loads(output)["measures"]
    assert {each["arm"] for each in measures} >= {"MLR + KD", "MLR only", "scores only", "pairs + scores"}
    code, output, _ = command("distill", "score", str(file), "--json")
    assert code == 0
    (row,) = json.loads(output)
    assert 1 <= row["score"] <= 5
    assert row["metric"].startswith(str(tmp_path / "home"))
    code, output, errors = command("distill", "score", str(file))
    assert "[b]tonight[/b]" in output
    assert f"(run {row['run']})" in output
    assert "Only metrics trained on the demo's dialogues exist here" in " ".join(errors.split())


SIGNS = "a $5_{ and $6 [/b] | {x}"


def test_names_of_arms_and_tests_are_free_text(command, tmp_path):
    """Prevents a run from dying of a name after all its training, and a report whose columns have slipped."""
    arm = f'[[arms]]\nname = {SIGNS!r}\npretraining = "none"\ntuning = "plain"\n'
    (tmp_path / "signs.toml").write_text(
        TINY.replace("responses = 2", f"responses = 2\ntests = {{ {SIGNS!r} = 'demo' }}") + arm
    )
    code, output, errors = command("distill", "run", "quantidce", str(tmp_path / "signs.toml"))
    assert code == 0, output + errors
    shown = "".join(output.split())
    assert SIGNS.replace(" ", "") in shown
    assert f"scores {SIGNS}".replace(" ", "") in shown
    report = (tmp_path / "home" / "reports" / "quantidce-1.md").read_text()
    assert SIGNS.replace("|", "\\|") in report
    rows = [line for line in report.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1
    assert SIGNS in (tmp_path / "home" / "reports" / "quantidce-1.svg").read_text()


def finished(store, levels, folder):
    """A finished run on ``levels`` that left a metric in ``folder``."""
    hashes = (content_id("config", str(folder)), content_id("code"))
    run = store.distillations.open("quantidce", {"data": {"levels": levels}}, hashes, 0, False)
    folder.mkdir(parents=True)
    store.distillations.record_student(run.id, str(folder), content_id("student"))
    store.distillations.finish(run.id, [])
    return Chosen(folder, run.id, levels == "made")


def test_a_demo_does_not_take_the_place_of_a_real_metric(tmp_path, monkeypatch):
    """Prevents dialogues from being scored, unsaid, by a metric that knows the few words of a made world."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    with Store.open() as store:
        first, demo = finished(store, "made", tmp_path / "a"), finished(store, "made", tmp_path / "b")
        assert newest_metric() == demo
        real = finished(store, "levels.jsonl", tmp_path / "c")
        newer = finished(store, "levels.jsonl", tmp_path / "d")
        finished(store, "made", tmp_path / "e")
        assert newest_metric() == newer
    newer.folder.rmdir()
    assert newest_metric() == real
    assert first.run < demo.run


def test_the_whole_context_is_shown():
    """Prevents two dialogues that end alike from looking the same."""
    table = table_of([Scored(("Where is the soup?", "And then?"), "Soon.")], [2.5])
    console = Console(width=80, file=StringIO())
    console.print(table)
    cells = {part.strip() for part in console.file.getvalue().replace("\n", "│").split("│")}
    assert {"Where is the soup?", "And then?", "2.50"} <= cells


@pytest.mark.parametrize("option", [["--demo"], ["--seed", "3"], ["--force"]])
def test_options_that_do_nothing_are_refused(command, tmp_path, option):
    """Prevents a person from thinking that a score was made with another seed."""
    code, _, errors = command("distill", "score", str(tmp_path / "x.jsonl"), *option)
    assert code != 0
    assert "No such option" in errors
    assert option[0] in errors


def test_the_former_flag_of_force_still_works(command, tmp_path, monkeypatch, caplog):
    """Prevents scripts with --again from failing, or from training nothing anew."""
    taken = []
    monkeypatch.setattr("cyclealign.cli.distill.run_job", lambda entry, config, as_json: taken.append(config.force))
    for flags in ([], ["--force"], ["--again"]):
        command("distill", "run", "quantidce", "--demo", *flags)
    assert taken == [False, True, True]
    assert "--again is now called --force; the old name still works." in caplog.messages


def test_another_encoder_in_the_same_folder_is_another_run(tmp_path):
    """Prevents a metric on an encoder that was replaced from being found finished."""
    config = Config.model_validate({"encoder": {"model": str(tmp_path)}})
    (tmp_path / "weights").write_text("a")
    before = inputs(config)
    (tmp_path / "weights").write_text("b")
    assert before.keys() == inputs(config).keys() == {"encoder"}
    assert before != inputs(config)


def test_metrics_are_in_memory_one_at_a_time(tmp_path, monkeypatch):
    """Prevents an examination of many arms and runs that does not fit where each of them was trained."""
    config = Config.model_validate({"data": {"contexts": 10, "responses": 2}})
    dialogues = data.load(config.data, 0)
    model.fresh(EncoderSettings(max_tokens=48, head=(8, 4)), 0).save(folder := tmp_path / "metric")
    alive: weakref.WeakSet[model.Metric] = weakref.WeakSet()
    load = model.load

    def watched(path):
        gc.collect()
        assert not alive
        made = load(path)
        alive.add(made)
        return made

    monkeypatch.setattr(model, "load", watched)
    measures = examine(config, dialogues, {"a": [folder, folder], "b": [folder]})
    assert {each.arm for each in measures} == {"a", "b"}
    assert all(each.value == pytest.approx(0) for each in measures if "above" in each.name)


def test_a_wrong_line_ends_in_one_message(command, tmp_path):
    file = tmp_path / "dialogues.jsonl"
    file.write_text('{"context": "no list", "response": "x"}')
    code, output, _ = command("distill", "score", str(file))
    assert code == 1
    assert "dialogues.jsonl,line1" in "".join(output.split())
