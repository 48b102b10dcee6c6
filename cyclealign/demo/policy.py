"""The demo policy: a tiny Llama, trained on the demo world's text on first use and cached by content hash."""

import copy
import json
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from cyclealign.demo.muon import Muon
from cyclealign.demo.world import dataset
from cyclealign.files import appearing_folder
from cyclealign.policy.chat_template import answer_ids, prompt_ids
from cyclealign.progress import OnProgress
from cyclealign.records import Message, content_id

PAD, BOS, EOS = "<|pad|>", "<|begin|>", "<|end|>"
ROLES = ("system", "user", "assistant")
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
NO_LOSS = -100  # label of prompt and padding tokens, which have no loss

# Raise when the same recipe gives another model.
VERSION = 1
# Releases up to 0.1.0 hashed source code. Their default policy has the same weights; stored experiments refer to it.
DEFAULT_OF_0_1_0 = "98726902217715a92a47dab6"


@dataclass(frozen=True)
class Recipe:
    """All settings of the model and its training; the other inputs are the world's text and this file."""

    seed: int = 17
    pairs: int = 6_600
    batch: int = 20
    matrix_rate: float = 0.03
    vector_rate: float = 0.03
    warmup_steps: int = 10
    vocabulary: int = 2_048
    hidden: int = 128
    intermediate: int = 256
    layers: int = 2
    heads: int = 2
    head_dim: int = 64
    context: int = 256


@dataclass(frozen=True)
class Batch:
    """Token ids, labels and attention mask (B, T) of one training step; labels are NO_LOSS outside the answers."""

    ids_BT: Tensor  # noqa: N815
    labels_BT: Tensor  # noqa: N815
    mask_BT: Tensor  # noqa: N815

    def halves(self) -> tuple["Batch", "Batch"]:
        """Return the even rows and the odd rows."""
        first, second = (Batch(self.ids_BT[n::2], self.labels_BT[n::2], self.mask_BT[n::2]) for n in (0, 1))
        return first, second


def demo_policy(cache: Path, on_progress: OnProgress | None = None, recipe: Recipe | None = None) -> Path:
    """Return the folder of the demo policy, training it first if ``cache`` has no model of this recipe.

    The same recipe on the same machine gives the same weights.

    Args:
        on_progress: called with (steps done, total steps) during training; not called for a cached model.
        recipe: None: the default. Tests use smaller ones.
    """
    recipe = recipe or Recipe()
    pairs = dataset.pretraining_pairs(recipe.pairs, recipe.seed)
    folder = cache / f"demo-policy-{_content_hash(recipe, pairs)}"
    if not (folder / "model.safetensors").is_file():
        with appearing_folder(folder) as unfinished:
            tokenizer = train_tokenizer([text for pair in pairs for text in pair], recipe)
            write_model(unfinished, recipe, pairs, tokenizer, on_progress or (lambda done, steps: None))
    return folder


def _content_hash(recipe: Recipe, pairs: Sequence[tuple[str, str]]) -> str:
    if recipe == Recipe() and VERSION == 1:
        return DEFAULT_OF_0_1_0
    return content_id("demo policy", asdict(recipe), [list(pair) for pair in pairs], VERSION)


def write_model(
    folder: Path,
    recipe: Recipe,
    pairs: Sequence[tuple[str, str]],
    tokenizer: PreTrainedTokenizerFast,
    on_progress: OnProgress,
) -> None:
    """Train a model of the recipe's sizes on (prompt, answer) pairs in one pass; write it with its tokenizer.

    Args:
        on_progress: called with (steps done, total steps).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = LlamaForCausalLM(_config(recipe, tokenizer))
    _train(model, list(_batches(tokenizer, pairs, recipe)), recipe, on_progress)
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    (folder / "made_by.json").write_text(json.dumps(asdict(recipe), indent=2) + "\n", encoding="utf-8")


def train_tokenizer(texts: Sequence[str], recipe: Recipe) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer, which encodes and decodes any text without loss."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special_tokens = [PAD, BOS, EOS, *(f"<|{role}|>" for role in ROLES)]
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        additional_special_tokens=special_tokens[3:],
        clean_up_tokenization_spaces=False,
        model_max_length=recipe.context,
        chat_template=CHAT_TEMPLATE,
    )


def _config(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.intermediate,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        head_dim=recipe.head_dim,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        dtype="float32",
    )


def _batches(tokenizer: PreTrainedTokenizerFast, pairs: Sequence[tuple[str, str]], recipe: Recipe) -> Iterator[Batch]:
    """Yield batches of rows of similar length, to minimize padding, in random order."""
    draw = random.Random(recipe.seed)
    ids_of = {prompt: prompt_ids(tokenizer, (Message(role="user", content=prompt),)) for prompt, _ in pairs}
    rows = [(ids_of[prompt], answer_ids(tokenizer, answer)) for prompt, answer in pairs]
    by_length = sorted(rows, key=lambda row: len(row[0]) + len(row[1]))
    batches = [by_length[start : start + recipe.batch] for start in range(0, len(by_length), recipe.batch)]
    for batch in draw.sample(batches, len(batches)):
        yield _padded(batch, int(tokenizer.pad_token_id))


def _padded(rows: Sequence[tuple[list[int], list[int]]], pad: int) -> Batch:
    longest = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids_BT = torch.full((len(rows), longest), pad)
    labels_BT = torch.full((len(rows), longest), NO_LOSS)
    mask_BT = torch.zeros((len(rows), longest), dtype=torch.long)
    for number, (prompt, answer) in enumerate(rows):
        length = len(prompt) + len(answer)
        ids_BT[number, :length] = torch.tensor([*prompt, *answer])
        labels_BT[number, len(prompt) : length] = torch.tensor(answer)
        mask_BT[number, :length] = 1
    return Batch(ids_BT, labels_BT, mask_BT)


def _train(model: LlamaForCausalLM, batches: Sequence[Batch], recipe: Recipe, on_progress: OnProgress) -> None:
    """Train for one pass over ``batches``: Muon for the layers' matrices, Adam for embeddings and norms."""
    matrices = [weights for name, weights in model.named_parameters() if weights.ndim == 2 and "embed" not in name]
    others = [weights for name, weights in model.named_parameters() if weights.ndim != 2 or "embed" in name]
    optimizers: list[torch.optim.Optimizer] = [
        Muon(matrices, recipe.matrix_rate),
        torch.optim.Adam(others, recipe.vector_rate, betas=(0.9, 0.98)),
    ]
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, len(batches), recipe))
        for optimizer in optimizers
    ]
    model.train()
    with _two_workers(model) as backward:
        for step, batch in enumerate(batches, 1):
            backward(batch)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                schedule.step()
            model.zero_grad(set_to_none=True)
            on_progress(step, len(batches))
    model.eval()


@contextmanager
def _two_workers(model: LlamaForCausalLM) -> Iterator[Callable[[Batch], None]]:
    """Yield a function that computes the gradient of a batch's loss on ``model``, half of the batch per thread.

    Two single-core threads replace torch's own: those busy-wait, which makes training five times slower next to other
    work, and their number changes the weights from machine to machine.
    """
    twin = copy.deepcopy(model)
    for own, shared in zip(twin.parameters(), model.parameters(), strict=True):
        own.data = shared.data  # shared weights, separate gradients

    def half_backward(worker: LlamaForCausalLM, half: Batch) -> None:
        (_loss(worker, half) / 2).backward()  # type: ignore[no-untyped-call]

    def backward(batch: Batch) -> None:
        list(pool.map(half_backward, (model, twin), batch.halves()))
        for own, shared in zip(twin.parameters(), model.parameters(), strict=True):
            assert own.grad is not None
            assert shared.grad is not None
            shared.grad.add_(own.grad)
            own.grad = None

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield backward
    finally:
        torch.set_num_threads(threads)


def _loss(model: LlamaForCausalLM, batch: Batch) -> Tensor:
    """Return the mean -log P of the answer tokens, in nats. Only these are projected to logits, which saves a third."""
    hidden_BTH = model.model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT).last_hidden_state
    targets_BT = batch.labels_BT[:, 1:]
    answer_BT = targets_BT != NO_LOSS
    logits_NV = model.lm_head(hidden_BTH[:, :-1][answer_BT])
    return torch.nn.functional.cross_entropy(logits_NV, targets_BT[answer_BT])


def _rate(step: int, steps: int, recipe: Recipe) -> float:
    """Return the factor on the learning rate: linear warm-up, then linear decay to a twentieth."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    return max(0.05, 1 - (step - recipe.warmup_steps) / max(1, steps - recipe.warmup_steps))
