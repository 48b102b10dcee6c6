"""QuantiDCE by its command: trained, found again, and used."""

import json

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
    assert "No metric was trained" in " ".join(command("distill", "quantidce", "score", str(file))[1].split())
    code, output, _ = command("distill", "quantidce", str(config), "--json")
    assert code == 0
    measures = json.loads(output)["measures"]
    assert {each["arm"] for each in measures} >= {"MLR + KD", "MLR only", "scores only", "pairs + scores"}
    code, output, _ = command("distill", "quantidce", "score", str(file), "--json")
    assert code == 0
    (row,) = json.loads(output)
    assert 1 <= row["score"] <= 5
    assert "[b]tonight[/b]" in command("distill", "quantidce", "score", str(file))[1]


def test_a_wrong_line_ends_in_one_message(command, tmp_path):
    file = tmp_path / "dialogues.jsonl"
    file.write_text('{"context": "no list", "response": "x"}')
    code, output, _ = command("distill", "quantidce", "score", str(file))
    assert code == 1
    assert "dialogues.jsonl:1" in "".join(output.split())
