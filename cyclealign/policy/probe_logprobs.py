"""The probe of a new adapter (see `probing`): its rows, and their log-probs when training ended."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from peft import PeftModel

from cyclealign.policy.attestation import LONGEST, Logprobs, Probe, Rows, cut_rows
from cyclealign.policy.transformers_policy import load_model, token_logprobs
from cyclealign.policy.weights import are_whole


def probe_rows(texts: Sequence[Sequence[int]], model: Any) -> Rows:
    """The rows of a probe out of the training data, where the weights move most."""
    return cut_rows(texts, getattr(model.config.get_text_config(), "max_position_embeddings", LONGEST))


def measured(model: Any, rows: Rows, adapted: bool = True) -> Logprobs:
    """The rows' log-probs under a model as it is now, with its adapter or without."""
    training = model.training
    model.eval()
    with nullcontext() if adapted else model.disable_adapter():
        found = tuple(each for row in rows for each in token_logprobs(model, row))
    model.train(training)
    return found


def from_folders(
    model: str,
    revision: str | None,
    trust_remote_code: bool,
    folder: Path,
    parent: str | None,
    rows: Rows,
    where: str = "cpu",
) -> Probe:
    """A probe from what is on disk: an adapter and its parent's, or whole weights and their parent's."""
    base = load_model(model, revision, where, trust_remote_code)
    plain = measured(base, rows)
    if are_whole(folder):
        del base  # one model at a time
        before = measured(load_model(parent, None, where, trust_remote_code), rows) if parent else plain
        return Probe(rows, measured(load_model(str(folder), None, where, trust_remote_code), rows), before, plain)
    adapted = PeftModel.from_pretrained(base, str(folder), adapter_name="own")
    own, before = measured(adapted, rows), plain
    if parent is not None:
        adapted.load_adapter(parent, adapter_name="parent")
        adapted.set_adapter("parent")
        before = measured(adapted, rows)
    return Probe(rows, own, before, plain)
