"""The tokenizer of the jobs' made-up worlds: one token a word, with BERT's special tokens."""

from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SPECIAL = PAD, UNK, CLS, SEP = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
MASK = "[MASK]"


def word_tokenizer(
    words: Iterable[str], mask: bool = False, lowercase: bool = False, punctuation: bool = False, **settings: Any
) -> PreTrainedTokenizerFast:
    """A tokenizer that knows ``words``, in this order after the special tokens; texts become [CLS] a [SEP] b [SEP].

    Args:
        words: different words.
        mask: with a mask token, the last of the special ones.
        lowercase: texts are lowered first.
        punctuation: signs are words of their own; else words are what stands between blanks.
        settings: of `PreTrainedTokenizerFast`, such as model_max_length.
    """
    special = [*SPECIAL, MASK] if mask else [*SPECIAL]
    ids = {word: number for number, word in enumerate([*special, *words])}
    core = Tokenizer(models.WordLevel(ids, unk_token=UNK))
    if lowercase:
        core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Whitespace() if punctuation else pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        pair=f"{CLS} $A {SEP} $B:1 {SEP}:1",
        special_tokens=[(CLS, ids[CLS]), (SEP, ids[SEP])],
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=core, **dict(zip(names, special, strict=False)), **settings)
