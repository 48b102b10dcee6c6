"""Near-duplicates and samples: similarity as defined, leaders without chains, samples that do not depend on order."""

import random

import numpy as np
import pytest

from cyclealign.prompt_import import Imported
from cyclealign.prompt_import.curation import sampled, without_near_duplicates
from cyclealign.prompt_import.near_duplicates import compared_text, grams, leaders, signature
from cyclealign.records import LabelledList, Prompt

WORDS = "the quick brown fox jumps over a lazy dog while seven bright stars watch from far above".split()


def prompt(text, system="a long text that every request of the service begins with"):
    return Prompt.of(({"role": "system", "content": system}, {"role": "user", "content": text}))


def sentence(seed, length=40):
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) + str(draw.randrange(50)) for _ in range(length))


def imported(*texts):
    return Imported(tuple((prompt(text), "train") for text in texts), (), rows=len(texts))


def texts_of(contents):
    return [one.messages[-1]["content"] for one, _ in contents.prompts]


def test_signatures_estimate_the_jaccard_similarity():
    """Prevents hashes of which a threshold of 0.85 means anything else."""
    text = sentence(1)
    for share in (0.1, 0.3, 0.5):
        words = text.split()
        changed = " ".join([*words[: int(len(words) * (1 - share))], *sentence(2).split()[: int(len(words) * share)]])
        first, second = set(grams(text).tolist()), set(grams(changed).tolist())
        exact = len(first & second) / len(first | second)
        estimate = float(np.mean(signature(text) == signature(changed)))
        assert estimate == pytest.approx(exact, abs=4 * 0.045)


def test_case_blanks_and_widths_do_not_count_and_shared_system_texts_do_not():
    """Prevents different questions with one system text from being taken for duplicates."""
    assert compared_text(prompt("\uff28ow  DO\ti?")) == "how do i?"
    led = leaders([signature(compared_text(prompt(text))) for text in ("bake bread", "fix a tyre", "bake bread")], 0.5)
    assert led == [0, 1, 0]


def test_near_duplicates_are_left_out_once_and_counted():
    text = sentence(3)
    contents = without_near_duplicates(imported(text, text + " please", sentence(4), text.upper() + "!"), 0.85)
    assert texts_of(contents) == [text, sentence(4)]
    assert contents.dropped == 2
    assert contents.remarks == {
        "Near-duplicates left out (MinHash, similarity of at least 0.85): 2".rpartition(":")[0]: 2
    }


def test_a_prompt_with_ranked_answers_stays():
    """Prevents labels, which cost people's time, from going with a near-duplicate."""
    text = sentence(5)
    contents = imported(text, text + " please")
    labelled = LabelledList(contents.prompts[1][0], ("a", "b"), "people")
    kept = without_near_duplicates(Imported(contents.prompts, (labelled,), rows=2), 0.85)
    assert (len(kept.prompts), kept.labelled) == (2, (labelled,))


def test_a_chain_of_like_texts_is_not_one_cluster():
    """Prevents a sample that takes one prompt for a whole log, since each is like the one before."""
    words = sentence(6, 60).split()
    chain = [" ".join(words[start : start + 20]) for start in range(0, 40, 4)]
    led = leaders([signature(text) for text in chain], 0.5)
    assert len(set(led)) > 2
    assert all(leader <= place for place, leader in enumerate(led))


def test_a_sample_is_drawn_evenly_over_clusters_whatever_the_order():
    """Prevents the commonest request from filling the sample, and a sample that changes with the order of the log."""
    common = [sentence(7) + f" {number}" for number in range(30)]
    rare = [sentence(seed) for seed in (8, 9, 10)]
    contents = sampled(imported(*common, *rare), 6)
    assert set(rare) <= set(texts_of(contents))
    assert len(contents.prompts) == 6
    assert set(texts_of(sampled(imported(*rare, *common[::-1]), 6))) == set(texts_of(contents))
    assert (contents.dropped, contents.remarks) == (27, {"Left out by --sample 6 (4 clusters by MinHash)": 27})


@pytest.mark.parametrize(
    "text", ["?", "", "\U0001f600", "a" * 300_000, "\u4f60\u597d\u4f60\u597d\u4f60\u597d", "\x00\x1b[2J"]
)
def test_odd_texts_have_a_signature(text):
    """Prevents a single strange row from ending an import."""
    assert signature(text).shape == (128,)
    assert leaders([signature(text), signature(sentence(1)), signature(text)], 0.85) == [0, 1, 0]
