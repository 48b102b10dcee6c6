"""An experiment on the tiny model with one accepted round whose adapter is made on the spot."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from cyclealign.policy.probe_logprobs import probe_from_folders
from cyclealign.policy.weights import content_hash
from cyclealign.records import Adapter, Metric, Round
from cyclealign.store import Store
from tests.support.store_values import plan, prompts

ROWS = ((1, 4, 9, 10, 11, 2), (1, 4, 12, 13, 5))


def make_adapter(model: Path, folder: Path, seed: int) -> Adapter:
    """Save an adapter with random weights and its probe into ``folder``."""
    torch.manual_seed(seed)
    base: Any = AutoModelForCausalLM.from_pretrained(model)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    adapted: Any = get_peft_model(base, config)
    adapted.save_pretrained(str(folder))
    probe_from_folders(str(model), None, False, folder, None, ROWS).save(folder)
    weights = content_hash(folder)
    assert weights is not None
    return Adapter(f"adapter-{seed}", str(folder), weights, None)


def add_round(
    store: Store,
    model: Path,
    adapter: Adapter,
    verdict: Any = "accepted",
    policy: dict[str, Any] | None = None,
    **settings: Any,
) -> Round:
    """Store the next round of the experiment ``trial`` with this adapter; ``policy`` and ``settings`` are its own."""
    chosen = {"model": str(model), "max_new_tokens": 8, **(policy or {})}
    base = plan(drawn=prompts(0, 4), held_out=prompts(8, 10))
    given = {"experiment": "trial", "seed": 7, "policy": chosen, **settings}
    store.prompts.add("set", [(one, "train") for one in (*base.prompts, *base.held_out)], "test")
    round_ = store.rounds.open(replace(base, settings=given, base_model=str(model)), "me", 600)
    parent = round_.parent.id if round_.parent else None
    store.adapters.add(round_.id, replace(adapter, parent_id=parent), str(model))
    store.metrics.record(round_.id, [Metric("win_rate", 0.75, 0.5, 0.9, count=24)])
    store.rounds.close(round_.id, "me", verdict, "")
    return round_
