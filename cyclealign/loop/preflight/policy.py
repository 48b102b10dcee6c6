"""Check the policy's model: files, chat template, and room for the prompts that the next round would draw."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from cyclealign.config import ExperimentConfig, PolicySettings
from cyclealign.errors import CycleAlignError
from cyclealign.loop.plan import held_out_draw, too_long_message, train_draw
from cyclealign.loop.preflight.finding import Finding, missing, note
from cyclealign.records import Message, Prompt
from cyclealign.store import Store

SUBJECT = "model"
MAX_RENDERED = 512  # prompts: a second or less
EXAMPLE = Prompt.of((Message(role="user", content="How do I boil an egg?"),))


def policy_findings(config: ExperimentConfig, store: Store) -> Iterator[Finding]:
    """Check files and settings first, which takes no library, then tokenizer, template and context."""
    settings = config.policy
    if settings.model == "demo":
        yield Finding(SUBJECT, "the demo policy, trained on first use")
        return
    yield from ignored_settings(settings)
    if not Path(settings.model).is_dir() and not could_be_hub_id(settings.model):
        yield missing(SUBJECT, f"There is no folder {settings.model}. Set policy.model to a model folder or a hub id.")
        return
    try:
        yield from loaded(config, drawn_prompts(config, store))
    except CycleAlignError as error:
        yield missing(SUBJECT, str(error))


def could_be_hub_id(model: str) -> bool:
    """Return whether the text has the form of a Hugging Face id: ``organisation/name``, or a name of old models."""
    return model.count("/") <= 1 and not model.startswith((".", "/", "~", "models/"))


def ignored_settings(settings: PolicySettings) -> Iterator[Finding]:
    """Yield a note for each setting that this model leaves without effect."""
    if settings.revision and Path(settings.model).is_dir():
        yield note(SUBJECT, f"policy.revision has no effect on a folder ({settings.model}).")
    if settings.trust_remote_code and not settings.remote_code_trusted:
        yield note(
            SUBJECT,
            f"policy.trust_remote_code names '{settings.trust_remote_code}', which is not policy.model: no code of "
            "the model is run.",
        )


def drawn_prompts(config: ExperimentConfig, store: Store) -> list[Prompt]:
    """Return the prompts that the next round would draw first; none if there is no such set."""
    count = min(config.prompts.per_round, MAX_RENDERED)
    try:
        _, draw = store.rounds.next_number(config.experiment)
        unused, held_out = train_draw(store, config, draw), held_out_draw(store, config, draw)
        return [*islice(unused, count), *islice(held_out, count)]
    except CycleAlignError:  # reported with the prompts
        return []


def loaded(config: ExperimentConfig, prompts: Sequence[Prompt]) -> Iterator[Finding]:
    """Load tokenizer and config, and render the prompts.

    Raises:
        BadConfig: a setting of the chat template or an end token does not fit this model.
        PolicyError: the model is unsafe, its tokenizer or template is missing, or a conversation is rejected.
    """
    from cyclealign.policy.chat_template import ChatTemplate
    from cyclealign.policy.model_safety import refuse_unsafe
    from cyclealign.policy.tokenizer import configured_end_tokens, context_length, load_tokenizer

    settings = config.policy
    source = settings.model, settings.revision, settings.remote_code_trusted
    refuse_unsafe(*source)
    tokenizer, context = load_tokenizer(*source), context_length(*source)
    if config.policy.kind == "vllm":
        context = min(context or 1 << 30, config.engine.context or 1 << 30) - 1
    configured_end_tokens(tokenizer, settings.end_tokens)
    chat_template = ChatTemplate(tokenizer, settings)
    lengths = [len(chat_template.ids(prompt)) for prompt in prompts or [EXAMPLE]]
    where = Path(settings.model).absolute() if Path(settings.model).is_dir() else f"{settings.model} (hub)"
    yield Finding(SUBJECT, f"{where}: chat template renders {len(lengths)} prompts; context {context or 'unknown'}")
    if context is not None:
        yield from room(config, prompts or [EXAMPLE], lengths, context)


def room(
    config: ExperimentConfig, prompts: Sequence[Prompt], lengths: Sequence[int], context: int
) -> Iterator[Finding]:
    """Yield a finding on prompts that leave no room for an answer in a context of so many tokens."""
    too_long = [
        (prompt, length)
        for prompt, length in zip(prompts, lengths, strict=True)
        if length + config.policy.max_new_tokens > context
    ]
    if not too_long:
        return
    if len(too_long) == len(prompts):
        yield missing(
            "context",
            f"policy.max_new_tokens = {config.policy.max_new_tokens:,} leaves no room for a prompt in the model's "
            f"context of {context:,} tokens (the shortest takes {min(lengths):,}). Lower it.",
        )
    elif config.prompts.too_long == "refuse":
        yield missing("context", too_long_message(config, *too_long[0], context))
    else:
        yield note(
            "context", f"{len(too_long)} of {len(prompts)} prompts are too long and left out (prompts.too_long)."
        )
