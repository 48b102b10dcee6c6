"""Tokenizer of the jobs' demo data: one token per word, with BERT's special tokens."""

from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SPECIAL = PAD, UNK, CLS, SEP = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
MASK = "[MASK]"


def word_tokenizer(
    words: Iterable[str], mask: bool = False, lowercase: bool = False, punctuation: bool = False, **settings: Any
) -> PreTrainedTokenizerFast:
    """Return a tokenizer of ``words``, numbered in this order after the special tokens.

    One text becomes [CLS] a [SEP], a pair of texts [CLS] a [SEP] b [SEP].

    Args:
        words: vocabulary without repetitions.
        mask: add a mask token after the other special tokens.
        lowercase: convert texts to lower case first.
        punctuation: split off punctuation marks as tokens; otherwise split at whitespace only.
        settings: options of `PreTrainedTokenizerFast`, such as model_max_length.
    """
    special = [*SPECIAL, MASK] if mask else [*SPECIAL]
    ids = {word: number for number, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNK))
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace() if punctuation else pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        pair=f"{CLS} $A {SEP} $B:1 {SEP}:1",
        special_tokens=[(CLS, ids[CLS]), (SEP, ids[SEP])],
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **dict(zip(names, special, strict=False)), **settings)
