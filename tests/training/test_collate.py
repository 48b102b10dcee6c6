"""Dataset rows and batches of ranked lists and pairs."""

from trl.trainer.dpo_trainer import DataCollatorForPreference

from cyclealign.training.collate import (
    collate_lists,
    collate_pairs,
    list_rows,
    padding_row,
    pair_rows,
    pair_weights,
)
from cyclealign.training.job import RankedAnswers

RANKED = RankedAnswers((1,), ((5,), (6,), (7,)), 1.0)


def test_a_pairs_weight_is_its_margin_of_verdicts():
    """Prevents an even pair from having a weight, and a pair's direction from being that of the list."""
    assert pair_weights(RankedAnswers((1,), ((2,), (3,)), 1.0, ((1, 0, 0.75),))) == [[0.0, 0.0], [0.5, 0.0]]
    assert pair_weights(RANKED) == [[0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]


def test_pair_rows_are_all_pairs_of_the_token_ids():
    """Prevents DPO from training on text that was tokenised differently from what was sampled."""
    rows = pair_rows([RANKED])
    assert [(row["chosen_ids"], row["rejected_ids"]) for row in rows] == [([5], [6]), ([5], [7]), ([6], [7])]


def test_padding_rows_have_no_weight_and_no_preference():
    """Prevents a padding row from changing the loss where processes have unequal shares."""
    (pair, *_), (ranked,) = pair_rows([RANKED]), list_rows([RANKED])
    assert padding_row(pair)["weight"] == padding_row(ranked)["weight"] == 0.0
    assert padding_row(pair)["chosen_ids"] == padding_row(pair)["rejected_ids"]


def test_prompt_and_padding_have_no_label():
    """Prevents a loss on the prompt's tokens or on padding."""
    batch = collate_lists(list_rows([RankedAnswers((1, 2), ((5, 6, 7), (8,)), 0.5)]), pad_id=0)
    assert batch["input_ids"].tolist() == [[1, 2, 5, 6, 7], [1, 2, 8, 0, 0]]
    assert batch["labels"].tolist() == [[-100, -100, 5, 6, 7], [-100, -100, 8, -100, -100]]
    assert batch["attention_mask"].tolist() == [[1] * 5, [1, 1, 1, 0, 0]]
    assert batch["sizes"].tolist() == [2]
    assert batch["weights"].tolist() == [0.5]


def test_thoughts_condition_their_answers_and_are_not_learnt():
    """Prevents training from favouring thoughts that no judge has seen, and answers without their thoughts."""
    ranked = RankedAnswers((1, 2), ((5, 6, 7), (8, 9)), 1.0, thought_lengths=(2, 0))
    lists = collate_lists(list_rows([ranked]), pad_id=0)
    assert lists["input_ids"].tolist() == [[1, 2, 5, 6, 7], [1, 2, 8, 9, 0]]
    assert lists["labels"].tolist() == [[-100, -100, -100, -100, 7], [-100, -100, 8, 9, -100]]
    rows = pair_rows([ranked])
    pairs = collate_pairs([*rows, padding_row(rows[0])], DataCollatorForPreference(pad_token_id=0))
    chosen, padding = [[1, 2, 5, 6, 7], [0, 0, 0, 0, 1]], [[1, 2, 5, 6, 7], [0, 0, 0, 0, 1]]
    rejected = [[1, 2, 8, 9, 0], [0, 0, 1, 1, 0]]
    expected = [chosen, padding, rejected, padding]  # chosen answers of all rows, then rejected ones
    assert pairs["input_ids"].tolist() == [ids for ids, _ in expected]
    assert pairs["completion_mask"].tolist() == [mask for _, mask in expected]


def test_a_job_without_thoughts_learns_all_tokens_of_its_answers():
    """Prevents jobs of models that do not think from changing."""
    assert list_rows([RANKED])[0]["unlearnt"] == [0, 0, 0]
