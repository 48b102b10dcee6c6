"""PLD by its command: what cannot be trained is told before anything is."""

TINY = """
[data]
classes = 4
train_per_class = 6
[teacher]
sizes = { embedding_size = 4, hidden_sizes = [4], depths = [1], layer_type = "basic" }
epochs = 1
[student]
model = "/nowhere/at/all"
epochs = 1
"""


def test_a_student_that_cannot_be_made_is_told_before_the_teacher_learns(command, tmp_path):
    """Prevents hours of a teacher's training from ending in a misspelt name."""
    config = tmp_path / "tiny.toml"
    config.write_text(TINY)
    code, output, _ = command("distill", "run", "pld", str(config))
    assert code == 1
    assert "'/nowhere/at/all' cannot be built" in " ".join(output.split())
    assert not (tmp_path / "home" / "distill" / "pld" / "labels").exists()
