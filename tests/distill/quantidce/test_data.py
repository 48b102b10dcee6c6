"""Dialogues from files: valid ones, and errors with file and line."""

import json

import pytest
from datasets import Dataset

from cyclealign.distill.quantidce import data, demo_data
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


def test_levels_are_read_best_first_and_cut_to_what_is_wanted(tmp_path, caplog):
    """Prevents levels of different sizes, which a tensor cannot hold, from losing or mixing responses."""
    path = written(tmp_path / "levels.jsonl", GRADED, {**GRADED, "context": ["Hello."]})
    graded = data.read_graded(path, 2)
    assert [len(level) for level in graded[0].levels] == [2, 2, 2]
    assert [level[0] for level in graded[0].levels] == ["Fine.", "How I are.", "The train is late."]
    assert not caplog.records


@pytest.mark.parametrize("few", [[], ["Only one."]])
def test_a_context_with_few_responses_is_left_out_and_costs_the_others_nothing(tmp_path, caplog, few):
    """Prevents one poor context from silently cutting the responses of all."""
    poor = {**GRADED, "random_negative_responses": few}
    graded = data.read_graded(written(tmp_path / "levels.jsonl", GRADED, poor, GRADED), 2)
    assert [len(each.levels[0]) for each in graded] == [2, 2]
    assert "1 of 3 contexts are left out: they have fewer than 2 responses" in caplog.text


def test_too_few_contexts_with_so_many_responses_are_refused_with_what_there_is(tmp_path):
    """Prevents a setting that leaves nothing to learn from from ending in an empty run."""
    poor = {**GRADED, "random_negative_responses": ["Only one."]}
    path = written(tmp_path / "levels.jsonl", GRADED, poor, GRADED)
    with pytest.raises(DistillError, match=r"0 of 3 contexts have 5 .* Set data\.responses to 2 or less"):
        data.read_graded(path, 5)
    with pytest.raises(DistillError, match=r"1 of 1 contexts .* At least two contexts are needed"):
        data.read_graded(written(tmp_path / "one.jsonl", GRADED), 1)


def test_a_data_set_reads_as_its_lines_do(tmp_path):
    """Prevents a column of a data set from meaning something else than the field of a line."""
    rows = [{**GRADED, "context": [f"Hello {number}."]} for number in range(3)]
    Dataset.from_list(rows).to_parquet(tmp_path / "levels.parquet")
    assert data.read_graded(tmp_path / "levels.parquet", 2) == data.read_graded(
        written(tmp_path / "levels.jsonl", *rows), 2
    )
    scored = [{"context": ["a\u2028b"], "response": "c", "score": score} for score in (1.5, 5.0)]
    Dataset.from_list(scored).to_parquet(tmp_path / "scored.parquet")
    assert data.read_scored(str(tmp_path / "scored.parquet")) == data.read_scored(
        written(tmp_path / "scored.jsonl", *scored)
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"context": [["a"]], "response": ["b"], "rating": [2]}, r"no column \['score'\]; it has .*'rating'"),
        ({"context": [["a"]] * 2, "response": ["b"] * 2, "score": [2, 9]}, r"row 2: .score. must be a number from 1"),
        ({"context": ["a"], "response": ["b"], "score": [2]}, r"row 1: .context. must be a list of texts"),
    ],
)
def test_what_a_data_set_lacks_is_named(tmp_path, rows, message):
    """Prevents another column from passing for the scores."""
    Dataset.from_dict(rows).to_parquet(tmp_path / "some.parquet")
    with pytest.raises(DistillError, match=message):
        data.read_scored(tmp_path / "some.parquet")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "expected an object"),
        ({"context": [], "response": "x", "score": 3}, "context"),
        ({"context": ["a"], "response": 4, "score": 3}, "response"),
        ({"context": ["a"], "response": "x", "score": 6}, "score"),
        ({"context": ["a"], "response": "x"}, "score"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, row, message):
    """Prevents scores on another scale, or half a file, from being learnt from."""
    path = written(tmp_path / "scored.jsonl", {"context": ["a"], "response": "b", "score": 2}, row)
    with pytest.raises(DistillError, match=f"scored.jsonl, line 2.*{message}"):
        data.read_scored(path)


def test_a_missing_and_an_empty_file_are_named(tmp_path):
    with pytest.raises(DistillError, match="cannot be read"):
        data.read_scored(tmp_path / "none.jsonl")
    with pytest.raises(DistillError, match="holds no dialogues"):
        data.read_pairs(written(tmp_path / "empty.jsonl", ""))


def test_what_is_learnt_from_is_not_tested_on(tmp_path):
    """Prevents agreement with people that a metric learnt by heart: their scores, or the level of a response."""
    others = {**GRADED, "context": ["Hello."]}
    learnt = {"context": ["Hi."], "response": "Fine.", "score": 4}
    of_levels = {"context": others["context"], "response": "Well.", "score": 4}
    right = {"context": ["Hi."], "response": "Well.", "score": 4}  # neither learnt response to this context

    def load(*tests):
        return data.load(
            DataSettings(
                levels=str(written(tmp_path / "levels.jsonl", others, others)),
                scored=str(written(tmp_path / "scored.jsonl", learnt)),
                tests={"mine": str(written(tmp_path / "test.jsonl", *tests))},
                responses=2,
            ),
            seed=0,
        )

    assert len(load(right).tests["mine"]) == 1
    with pytest.raises(DistillError, match=r"in both the scored responses and test set 'mine', .*'Fine\.'"):
        load(right, learnt)
    with pytest.raises(DistillError, match=r"in both the levels and test set 'mine', .*'Well\.'"):
        load(right, of_levels)


@pytest.mark.slow
def test_held_out_contexts_are_not_learnt_from():
    """Prevents the order of levels from being shown on contexts that were trained on."""
    made = data.load(DataSettings(contexts=40, responses=2), seed=0)
    assert len(made.graded) == 36
    assert len(made.held_out) == 4


@pytest.mark.slow
def test_the_world_says_nothing_twice_and_says_so_when_it_ends():
    """Prevents a metric that is tested on what it has learnt."""
    made = data.load(DataSettings(contexts=240), seed=0)
    sets = [made.graded, made.held_out, *([*rows[::3]] for rows in (made.scored, *made.tests.values()))]
    contexts = [each.context for each_set in sets for each in each_set]
    assert len(contexts) == len(set(contexts)) > 240
    with pytest.raises(DistillError, match=r"Lower data\.contexts"):
        data.load(DataSettings(contexts=601), seed=0)


def test_the_world_is_made_of_known_words_and_says_what_it_means():
    """Prevents a made world in which the levels do not differ in what they are said to differ in."""
    words = set(demo_data.vocabulary())
    made = demo_data.generate(60, 2, ("same", "other"), seed=3)
    for context, (good, adversarial, random) in made.graded:
        time = next(each for each in demo_data.TIMES if each in context[0])
        topic = next(things for things in demo_data.TOPICS.values() if any(thing in context[0] for thing in things))
        assert all(time in text for text in good if any(each in text for each in demo_data.TIMES))
        assert not any(time in text for text in adversarial)
        assert all(any(thing in text for thing in topic) for text in (*good, *adversarial))
        assert not any(thing in text for thing in topic for text in random)
        assert set(" ".join((*context, *good, *adversarial, *random)).split()) <= words
