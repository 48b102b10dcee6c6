"""Compute the probe of trained weights: its rows, and their log-probs (see `cyclealign.policy.attestation`)."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from cyclealign.policy.attestation import Logprobs, Probe, Rows, truncate_rows
from cyclealign.policy.model_loading import load_adapter, load_model
from cyclealign.policy.token_logprobs import token_logprobs
from cyclealign.policy.tokenizer import UNBOUNDED_CONTEXT, context_of
from cyclealign.policy.weights import is_full_model


def select_probe_rows(texts: Sequence[Sequence[int]], model: Any) -> Rows:
    """Return the rows of a probe, taken from the training data: there the log-probs change most."""
    return truncate_rows(texts, context_of(model.config) or UNBOUNDED_CONTEXT)


def probe_logprobs(model: Any, rows: Rows, with_adapter: bool = True) -> Logprobs:
    """Return the log-probs of the rows under a loaded model in evaluation mode, with or without its adapter."""
    training = model.training
    model.eval()
    with nullcontext() if with_adapter else model.disable_adapter():
        logprobs = tuple(logprob for row in token_logprobs(model, rows) for logprob in row)
    model.train(training)
    return logprobs


def probe_from_folders(
    model: str,
    revision: str | None,
    trust_remote_code: bool,
    folder: Path,
    parent: str | None,
    rows: Rows,
    device: str = "cpu",
) -> Probe:
    """Return the probe of saved weights: an adapter or a full model in ``folder``, and its parent of the same kind."""
    base = load_model(model, revision, device, trust_remote_code)
    base_logprobs = probe_logprobs(base, rows)
    parent_logprobs = base_logprobs
    if is_full_model(folder):
        del base  # one model at a time
        if parent is not None:
            parent_logprobs = probe_logprobs(load_model(parent, None, device, trust_remote_code), rows)
        trained = load_model(str(folder), None, device, trust_remote_code)
        return Probe(rows, probe_logprobs(trained, rows), parent_logprobs, base_logprobs)
    with_adapters = load_adapter(base, str(folder), "own")
    own_logprobs = probe_logprobs(with_adapters, rows)
    if parent is not None:
        load_adapter(with_adapters, parent, "parent")
        with_adapters.set_adapter("parent")
        parent_logprobs = probe_logprobs(with_adapters, rows)
    return Probe(rows, own_logprobs, parent_logprobs, base_logprobs)
