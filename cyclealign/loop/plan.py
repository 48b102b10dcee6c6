"""Plan a round: choose everything that it reads."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from cyclealign.config import ExperimentConfig
from cyclealign.errors import BadConfig, PolicyError, StoreError
from cyclealign.judge.templates import load_demonstrations
from cyclealign.loop.demonstration_gain import dynamic_to_show
from cyclealign.loop.session import RoundSession
from cyclealign.loop.template_choice import TEMPLATES, choose_template
from cyclealign.prompt_import import split_of
from cyclealign.records import Adapter, Demonstration, Message, Prompt, RoundPlan, Template, seed_from
from cyclealign.store import Store

logger = logging.getLogger(__name__)

DEMONSTRATIONS_FILE = "demonstrations.jsonl"
DEMO_SET = "demo"
DEMO_HELD_OUT_SHARE = 0.15


def plan_round(session: RoundSession) -> RoundPlan:
    """Choose everything that the next round reads.

    Raises:
        BadConfig: the base model or the training method differs from the experiment's.
        StoreError: no unused prompts, or no held-out prompts, are left.
        PolicyError: a prompt does not fit the context.
    """
    config, store = session.config, session.store
    require_same_model(session)
    if config.prompts.set_name == DEMO_SET:
        import_demo_world(store)
    _, draw = store.rounds.next_number(config.experiment)
    fresh = not_empty(
        train_draw(store, config, draw),
        f"Prompt set '{config.prompts.set_name}' has no prompt left that '{config.experiment}' has not used. Import "
        "more with `cyclealign prompts import`, or start a new experiment.",
    )
    held_out = not_empty(
        held_out_draw(store, config, draw),
        f"Prompt set '{config.prompts.set_name}' has no held-out prompts to evaluate on. Import more with `cyclealign "
        "prompts import` (one in ten is held out).",
    )
    templates, demonstrations = judge_material(session, session.templates)
    return RoundPlan(
        experiment=config.experiment,
        settings=config.model_dump(mode="json"),
        seed=config.seed,
        prompts=prompts_that_fit(session, fresh, config.prompts.per_round),
        held_out=prompts_that_fit(session, held_out, config.prompts.held_out),
        templates=templates,
        demonstrations=demonstrations,
        base_model=session.base_model,
    )


def import_demo_world(store: Store) -> None:
    """Add the demo world's prompts and labelled lists to the store; existing ones stay unchanged."""
    from cyclealign.demo.world import dataset

    prompts = [Prompt.of((Message(role="user", content=text),)) for text in dataset.prompts("alignment")]
    store.prompts.add(DEMO_SET, [(prompt, split_of(prompt, DEMO_HELD_OUT_SHARE)) for prompt in prompts], "demo world")
    store.prompts.add_labelled_lists(DEMO_SET, dataset.labelled_lists(48, 4, seed=0))


def train_draw(store: Store, config: ExperimentConfig, draw: int) -> Iterator[Prompt]:
    """Yield the unused prompts in the order in which a round draws them.

    Args:
        draw: number of the round from which its seeds follow.
    """
    return store.draws.unused(config.prompts.set_name, config.experiment, config.seed, draw)


def held_out_draw(store: Store, config: ExperimentConfig, draw: int) -> Iterator[Prompt]:
    """Yield the held-out prompts in the order in which a round takes them: the same for all rounds, or one for each.

    Args:
        draw: number of the round from which its seeds follow.
    """
    seed = seed_from(config.seed, "held-out", draw) if config.evaluation.rotate_held_out else config.seed
    return store.draws.held_out(config.prompts.set_name, seed)


def not_empty(prompts: Iterator[Prompt], message: str) -> Iterator[Prompt]:
    """Return the prompts; raise StoreError with the message if there is none."""
    first = next(prompts, None)
    if first is None:
        raise StoreError(message)
    return chain([first], prompts)


def prompts_that_fit(session: RoundSession, prompts: Iterable[Prompt], count: int) -> tuple[Prompt, ...]:
    """Return the first ``count`` prompts that leave room for an answer in the policy's context, with their token ids.

    Prompts after these are not taken from the iterator.

    Raises:
        PolicyError: one does not and ``prompts.too_long`` is ``refuse``; or none does.
    """
    room = session.policy.context_tokens - session.config.policy.max_new_tokens
    chosen: list[Prompt] = []
    for prompt in prompts:
        ids = session.policy.prompt_ids(prompt)
        if len(ids) <= room:
            chosen.append(replace(prompt, token_ids=tuple(ids)))
            if len(chosen) == count:
                break
        elif session.config.prompts.too_long == "refuse":
            raise PolicyError(too_long_message(session.config, prompt, len(ids), session.policy.context_tokens))
    if not chosen:
        raise PolicyError(
            f"policy.max_new_tokens = {session.config.policy.max_new_tokens:,} leaves no room for any prompt in the "
            f"model's context of {session.policy.context_tokens:,} tokens. Lower it."
        )
    return tuple(chosen)


def require_fit(session: RoundSession, prompts: Sequence[Prompt]) -> None:
    """Check that each prompt leaves room for an answer in the policy's context.

    Raises:
        PolicyError: one does not.
    """
    context = session.policy.context_tokens
    for prompt in prompts:
        tokens = len(session.policy.prompt_ids(prompt))
        if tokens > context - session.config.policy.max_new_tokens:
            raise PolicyError(too_long_message(session.config, prompt, tokens, context))


def too_long_message(config: ExperimentConfig, prompt: Prompt, tokens: int, context: int) -> str:
    """Return the error message for a prompt that does not fit the context."""
    return (
        f"The prompt '{prompt.text[:60]}...' takes {tokens:,} tokens; with policy.max_new_tokens = "
        f"{config.policy.max_new_tokens:,} it does not fit the model's context of {context:,}. Shorten it, lower "
        'max_new_tokens, or set prompts.too_long = "skip" to leave such prompts out.'
    )


def judge_material(session: RoundSession, folder: Path) -> tuple[tuple[Template, ...], tuple[Demonstration, ...]]:
    """Return the templates and the pool of demonstrations of a round that is opened now, static ones first.

    Args:
        folder: of the templates and the written demonstrations.

    Raises:
        BadTemplate: a file cannot be used.
    """
    static = load_demonstrations(folder / DEMONSTRATIONS_FILE)
    return tuple(template_for(session, folder, name) for name in TEMPLATES), (*static, *dynamic_to_show(session))


def template_for(session: RoundSession, folder: Path, name: str) -> Template:
    """Return the version of a template that the round uses, and log a notice if a rolled-back round used the file's."""
    choice = choose_template(session.store, session.config.experiment, folder, name)
    if choice.notice:
        logger.warning("%s", choice.notice)
    return choice.template


def require_same_model(session: RoundSession) -> None:
    """Raise BadConfig if base model or training method differ from the experiment's."""
    require_same_base_model(session)
    require_same_method(session)


def require_same_base_model(session: RoundSession) -> None:
    """Raise BadConfig if the experiment began with another base model, which its adapters belong to."""
    last = session.store.experiments.base_model(session.config.experiment)
    if last is not None and last != session.base_model:
        raise BadConfig(
            f"Experiment '{session.config.experiment}' began with the model '{last}', and policy.model is now "
            f"'{session.base_model}'. Give this model an experiment of its own."
        )


def require_trainable_adapter(session: RoundSession, parent: Adapter | None) -> None:
    """Raise BadConfig if a round that goes on from the parent cannot train an adapter of these settings."""
    from cyclealign.loop.parent_adapter import require_trainable  # loads PEFT

    require_trainable(session.config, session.model_folder, parent)


def require_same_method(session: RoundSession) -> None:
    """Raise BadConfig if the experiment began with another method: an adapter cannot continue from full weights."""
    first, now = session.store.experiments.training_method(session.config.experiment), session.config.training.method
    if first is not None and first != now:
        raise BadConfig(
            f"Experiment '{session.config.experiment}' began with training.method = '{first}', and it is now '{now}'. "
            "Set it back, or start a new experiment."
        )
