"""Dialogues from files: what is read, and what is refused by file and line."""

import json

import pytest

from cyclealign.distill.quantidce import data, world
from cyclealign.distill.quantidce.config import DataSettings
from cyclealign.errors import DistillError

GRADED = {
    "context": ["Hi.", "How are you?"],
    "positive_responses": ["Fine.", "Well.", "Good."],
    "adversarial_negative_responses": ["How I are.", "Hi you."],
    "random_negative_responses": ["The train is late.", "Two, please.", "No."],
}


def written(path, *rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_levels_are_read_best_first_and_cut_to_the_shortest(tmp_path):
    """Prevents levels of different sizes, which a tensor cannot hold, from losing or mixing responses."""
    path = written(tmp_path / "levels.jsonl", GRADED, {**GRADED, "context": ["Hello."]})
    graded = data.read_graded(path, 5)
    assert [len(level) for level in graded[0].levels] == [2, 2, 2]
    assert [level[0] for level in graded[0].levels] == ["Fine.", "How I are.", "The train is late."]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "want an object"),
        ({"context": [], "response": "x", "score": 3}, "context"),
        ({"context": ["a"], "response": 4, "score": 3}, "response"),
        ({"context": ["a"], "response": "x", "score": 6}, "score"),
        ({"context": ["a"], "response": "x"}, "score"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, row, message):
    """Prevents scores on another scale, or half a file, from being learnt from."""
    path = written(tmp_path / "scored.jsonl", {"context": ["a"], "response": "b", "score": 2}, row)
    with pytest.raises(DistillError, match=f"scored.jsonl:2.*{message}"):
        data.read_scored(path)


def test_a_missing_and_an_empty_file_are_named(tmp_path):
    with pytest.raises(DistillError, match="cannot be read"):
        data.read_scored(tmp_path / "none.jsonl")
    with pytest.raises(DistillError, match="no dialogues"):
        data.read_pairs(written(tmp_path / "empty.jsonl", ""))


def test_held_out_contexts_are_not_learnt_from():
    """Prevents the order of levels from being shown on contexts that were trained on."""
    made = data.load(DataSettings(contexts=40, responses=2), seed=0)
    assert len(made.graded) == 36
    assert len(made.held_out) == 4


def test_the_world_is_made_of_known_words_and_says_what_it_means():
    """Prevents a made world in which the levels do not differ in what they are said to differ in."""
    words = set(world.vocabulary())
    made = world.made(60, 2, ("same", "other"), seed=3)
    for context, (good, adversarial, random) in made.graded:
        time = next(each for each in world.TIMES if each in context[0])
        topic = next(things for things in world.TOPICS.values() if any(thing in context[0] for thing in things))
        assert all(time in text for text in good if any(each in text for each in world.TIMES))
        assert not any(time in text for text in adversarial)
        assert all(any(thing in text for thing in topic) for text in (*good, *adversarial))
        assert not any(thing in text for thing in topic for text in random)
        assert set(" ".join((*context, *good, *adversarial, *random)).split()) <= words
