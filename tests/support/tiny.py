"""A tiny Llama with random weights and a word tokenizer, in a model folder like any other."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|> ' + m['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|> ' }}{% endif %}"
)
WORDS = [
    "how",
    "do",
    "i",
    "bake",
    "bread",
    "fix",
    "a",
    "tyre",
    "and",
    "then",
    "you",
    "can",
    "use",
    "the",
    "oven",
    "or",
    "pump",
    "it",
    "is",
    "not",
    "safe",
    "sorry",
    "no",
    "yes",
]


def make_model(folder: Path, template: str | None = TEMPLATE, context: int = 128) -> Path:
    """Save the model and its tokenizer into ``folder`` and return the folder."""
    special = ["<pad>", "<bos>", "<end>", "<unk>", "<|user|>", "<|assistant|>", "<|system|>"]
    vocabulary = {word: number for number, word in enumerate([*special, *dict.fromkeys(WORDS)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<end>",
        unk_token="<unk>",
        additional_special_tokens=special[4:],
    )
    fast.chat_template = template
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=context,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder, safe_serialization=True)
    return folder
