"""Tiny models of the architectures and chat templates that people have, made on the spot in seconds.

`make_chat_model` saves one of `KINDS` as a model folder: weights, tokenizer, chat template and generation config. Each
is trained for a moment, so that its answers are words and end with an end token, but not always with the same one.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    Gemma2Config,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    GenerationConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from tests.support.tiny import WORDS

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# As Qwen3's: an empty thought is written for the model if `enable_thinking` is false.
CHATML_THINKING = CHATML + (
    "{% if add_generation_prompt and enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
)
# As Llama 3's: it begins with the BOS token and states the date.
LLAMA = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n'"
    " + m['content'] + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
LLAMA_DATED = "{{ bos_token }}Today Date: {{ strftime_now('%d %b %Y') }}\\n\\n" + LLAMA.removeprefix("{{ bos_token }}")
GEMMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\\n' + m['content'] | trim"
    " + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
# As Gemma 3's: the system text is written before the first user turn.
GEMMA3 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\\n\\n' %}"
    "{% set turns = messages[1:] %}{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}"
    "{% for m in turns %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\\n'"
    " + (first if loop.first else '') + m['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
# As Mistral's: no system role, and a turn of the assistant has no header.
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Only user and assistant roles are supported, alternating') }}{% endif %}"
    "{{ '[INST] ' + m['content'] + ' [/INST]' if m['role'] == 'user' else ' ' + m['content'] + eos_token }}"
    "{% endfor %}"
)
PHI3 = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
# As that of models tuned from GPT-NeoX: its marks are plain text, and only an answer has an end token.
NEOX = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] }}"
    "{{ eos_token if m['role'] == 'assistant' }}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
SPECIAL = {
    "chatml": ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    "llama": ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
    "gemma": ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
    "mistral": ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"),
    "phi3": ("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"),
    "neox": ("<|endoftext|>",),
}
THOUGHT = ("<think>", "</think>")  # in the vocabulary, but not special: decoding shows them, as Qwen3's does
ROLES = ("user", "assistant", "system", "model")
CONTEXT = 256


@dataclass(frozen=True)
class ChatModel:
    """The parts of one kind of model.

    Attributes:
        config: makes the model's config from the keyword arguments that all of them share.
        special: the family of special tokens.
        tokens: the tokenizer's ``bos_token``, ``eos_token`` and ``pad_token``, as far as it has them.
        ends: the generation config's end tokens.
        thinks: its answers begin with a thought.
    """

    config: Callable[..., PretrainedConfig]
    template: str
    special: str
    tokens: Mapping[str, str]
    ends: tuple[str, ...]
    thinks: bool = False
    model: Any = AutoModelForCausalLM.from_config
    arguments: Mapping[str, Any] = field(default_factory=dict)


def _gemma3_multimodal(**shared: Any) -> Gemma3Config:
    """Return the config of a text model beside a vision tower; its sizes are in ``text_config`` alone."""
    ends: dict[str, Any] = {
        name: shared.pop(name) for name in ("eos_token_id", "bos_token_id", "pad_token_id") if name in shared
    }
    text: dict[str, Any] = {**shared, **ends, "head_dim": 16, "sliding_window": 16, "query_pre_attn_scalar": 16}
    vision: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    image: dict[str, Any] = {
        "boi_token_index": 5,
        "eoi_token_index": 5,
        "image_token_index": 5,
        "mm_tokens_per_image": 4,
    }
    return Gemma3Config(text_config=text, vision_config=vision, **image, **ends)


CHATML_TOKENS = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
CHATML_ENDS = ("<|im_end|>", "<|endoftext|>")
LLAMA_TOKENS = {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"}
LLAMA_ENDS = ("<|end_of_text|>", "<|eot_id|>")
GEMMA_TOKENS = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
GEMMA_ENDS = ("<eos>", "<end_of_turn>")
EXPERTS: dict[str, Any] = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "decoder_sparse_step": 1,
}
GEMMA_SIZES: dict[str, Any] = {"head_dim": 16, "sliding_window": 16, "query_pre_attn_scalar": 16}
# The first layer attends to a window, the last to the whole context.
GEMMA3_SIZES: dict[str, Any] = {**GEMMA_SIZES, "layer_types": ["sliding_attention", "full_attention"]}
MISTRAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
PHI3_TOKENS = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}

KINDS: Mapping[str, ChatModel] = {
    "llama": ChatModel(LlamaConfig, LLAMA, "llama", {**LLAMA_TOKENS, "pad_token": "<|end_of_text|>"}, LLAMA_ENDS),
    "llama_dated": ChatModel(LlamaConfig, LLAMA_DATED, "llama", LLAMA_TOKENS, LLAMA_ENDS),
    "no_pad_token": ChatModel(LlamaConfig, LLAMA, "llama", LLAMA_TOKENS, LLAMA_ENDS),
    "qwen2": ChatModel(Qwen2Config, CHATML, "chatml", CHATML_TOKENS, CHATML_ENDS),
    "qwen3_thinking": ChatModel(
        Qwen3Config, CHATML_THINKING, "chatml", CHATML_TOKENS, CHATML_ENDS, thinks=True, arguments={"head_dim": 16}
    ),
    "qwen3_moe": ChatModel(
        Qwen3MoeConfig, CHATML, "chatml", CHATML_TOKENS, CHATML_ENDS, arguments={**EXPERTS, "head_dim": 16}
    ),
    "gemma2_no_system": ChatModel(Gemma2Config, GEMMA2, "gemma", GEMMA_TOKENS, GEMMA_ENDS, arguments=GEMMA_SIZES),
    "gemma3_multimodal": ChatModel(
        _gemma3_multimodal, GEMMA3, "gemma", GEMMA_TOKENS, GEMMA_ENDS, model=Gemma3ForConditionalGeneration
    ),
    "gemma3": ChatModel(Gemma3TextConfig, GEMMA3, "gemma", GEMMA_TOKENS, GEMMA_ENDS, arguments=GEMMA3_SIZES),
    "mistral": ChatModel(
        MistralConfig, MISTRAL, "mistral", MISTRAL_TOKENS, ("</s>",), arguments={"head_dim": 16, "sliding_window": 16}
    ),
    # Query, key and value in one matrix, and so are gate and up projection.
    "phi3": ChatModel(Phi3Config, PHI3, "phi3", PHI3_TOKENS, ("<|end|>", "<|endoftext|>")),
    # Query, key and value in one matrix; biases; attention and MLP in parallel; a quarter of each head is rotated.
    "gpt_neox": ChatModel(GPTNeoXConfig, NEOX, "neox", {"eos_token": "<|endoftext|>"}, ("<|endoftext|>",)),
}


def make_chat_model(kind: str, folder: Path, template: str | None = None, steps: int | None = None) -> Path:
    """Save a model of this kind into ``folder`` and return the folder.

    Args:
        template: a chat template in place of the kind's own.
        steps: of training; default: enough for answers that end. 0: random weights, whose answers seldom end.
    """
    parts = KINDS[kind]
    tokenizer = make_tokenizer(parts, template or parts.template)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    model = make_weights(parts, tokenizer)
    with one_thread():  # faster for models of this size, and much faster beside other processes
        teach_to_end(model, tokenizer, parts, (120 if parts.thinks else 60) if steps is None else steps)
    ends = tokenizer.convert_tokens_to_ids(list(parts.ends))
    model.generation_config = GenerationConfig(eos_token_id=ends, bos_token_id=tokenizer.bos_token_id)
    model.save_pretrained(folder, safe_serialization=True)
    return folder


def make_tokenizer(parts: ChatModel, template: str) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer with the family's special tokens; it adds BOS to plain text, if it has one."""
    special = list(SPECIAL[parts.special])
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1000, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([f"{word} {word}" for word in [*ROLES, *WORDS]], trainer)
    if bos := parts.tokens.get("bos_token"):
        single = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, special.index(bos))])
        tokenizer.post_processor = single
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, additional_special_tokens=special, **parts.tokens)
    fast.add_tokens(list(THOUGHT))
    fast.chat_template = template
    return fast


def make_weights(parts: ChatModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Return the model with random weights; its embedding has a few more rows than the tokenizer has tokens."""
    config = parts.config(
        vocab_size=len(tokenizer) + 3,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=CONTEXT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **parts.arguments,
    )
    model: PreTrainedModel = parts.model(config)
    return model


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread in the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def teach_to_end(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, parts: ChatModel, steps: int) -> None:
    """Train on random words that end with one of the end tokens, after a thought if the model thinks."""
    draw = random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(steps):
        rows = [_conversation(tokenizer, parts, draw) for _ in range(8)]
        width = max(len(prompt) + len(answer) for prompt, answer in rows)
        padding = [width - len(prompt) - len(answer) for prompt, answer in rows]
        ids = torch.tensor([[*row[0], *row[1], *[row[1][-1]] * pad] for row, pad in zip(rows, padding, strict=True)])
        labels = torch.tensor(
            [[-100] * len(row[0]) + row[1] + [-100] * pad for row, pad in zip(rows, padding, strict=True)]
        )
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def _conversation(
    tokenizer: PreTrainedTokenizerFast, parts: ChatModel, draw: random.Random
) -> tuple[list[int], list[int]]:
    """Return the token ids of a prompt and of an answer of random words."""

    def words(least: int, most: int) -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(least, most)))

    turns = [{"role": "user", "content": words(2, 6)}]
    prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    thought = f"{THOUGHT[0]}\n{words(1, 4)}\n{THOUGHT[1]}\n\n" if parts.thinks else ""
    answer = f"{thought}{words(2, 7)}{draw.choice(parts.ends)}"
    first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, answer))
    return list(first), list(second)
