"""ETM and ESM as folders: the encoder and its tokenizer as transformers saves them, the rest as safetensors."""

import json
from inspect import signature
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import MODEL_MAPPING, AutoConfig, AutoModel, AutoTokenizer

from cyclealign.distill.idcm import demo_models
from cyclealign.distill.idcm.config import DEMO, ETMSettings
from cyclealign.distill.idcm.data import Collection
from cyclealign.distill.idcm.esm import ESM
from cyclealign.distill.idcm.etm import ETM
from cyclealign.distill.models.encoders import keep_layers, reason
from cyclealign.errors import DistillError
from cyclealign.files import appearing_folder
from cyclealign.policy.device import device

HEAD, SELECTOR, SHAPE = "etm_head.safetensors", "esm.safetensors", "esm.json"


def encoder_folder(settings: ETMSettings, collection: Collection, tiny_folder: Path, seed: int) -> str | Path:
    """Where the encoder is: as the settings name it, or ``tiny_folder`` with one made for the collection's words."""
    if settings.model != DEMO:
        return settings.model
    if not tiny_folder.exists():
        triples = (text for each in collection.passages for text in (each.query, each.positive, each.negative))
        words = chain(triples, collection.queries.values(), collection.documents.values())
        with appearing_folder(tiny_folder) as made:
            demo_models.save_tiny(
                made, words, demo_models.Shape(settings.hidden, settings.layers or demo_models.Shape.layers, seed=seed)
            )
    return tiny_folder


def etm_from(start: str | Path, settings: ETMSettings, seed: int) -> tuple[ETM, Any]:
    """An ETM and its tokenizer: one that `save_etm` wrote, or a fresh head on an encoder."""
    return load_etm(Path(start)) if (Path(start) / HEAD).is_file() else fresh_etm(settings, str(start), seed)


def fresh_etm(settings: ETMSettings, source: str, seed: int) -> tuple[ETM, Any]:
    """An ETM on a pretrained encoder, with a new head, and its tokenizer.

    Args:
        source: the encoder's folder or Hugging Face id.

    Raises:
        DistillError: there is no such encoder, or it has no such layers.
    """
    try:
        config = AutoConfig.from_pretrained(source, revision=settings.revision, trust_remote_code=False)
        keep_layers(config, settings.layers, source, "etm.layers")
        encoder = _encoder(source, config, settings.revision)
        encoder.config.etm_pooling, encoder.config.etm_precision = settings.pooling, settings.precision
        tokenizer = AutoTokenizer.from_pretrained(source, revision=settings.revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise DistillError(f"etm.model: '{source}' cannot be loaded as an encoder: {reason(error)}") from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        etm = ETM(encoder, settings.top).eval()
    if settings.pooling == "match":
        etm.start_from_match()
    return etm.to(device()), tokenizer


def _encoder(source: str | Path, config: Any, revision: str | None = None) -> Any:
    """The encoder without the pooling layer that some kinds have: nothing reads it, and where the weights lack it, it
    would be drawn at random.
    """
    kind = MODEL_MAPPING.get(type(config), None)
    has_pooling = isinstance(kind, type) and "add_pooling_layer" in signature(kind).parameters
    bare = {"add_pooling_layer": False} if has_pooling else {}
    return AutoModel.from_pretrained(
        source, config=config, revision=revision, use_safetensors=True, trust_remote_code=False, **bare
    )


def fresh_esm(etm: ETM, small: bool, seed: int) -> ESM:
    """An ESM on the ETM's embedding layer and device; all arms of a run start from the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ESM(etm.embeddings, int(etm.encoder.config.hidden_size), small).eval().to(etm.head.weight.device)


def save_etm(folder: Path, etm: ETM, tokenizer: Any) -> None:
    """Write everything that `load_etm` needs."""
    etm.encoder.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    save_file(_without(etm, "encoder."), folder / HEAD)


def load_etm(folder: Path) -> tuple[ETM, Any]:
    """An ETM, on the accelerator if there is one, and its tokenizer."""
    rest = load_file(folder / HEAD)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    etm = ETM(_encoder(folder, config), len(rest["aggregate.weights_L"]))
    etm.load_state_dict(rest, strict=False)
    return etm.eval().to(device()), AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def save_esm(folder: Path, esm: ESM, small: bool) -> None:
    """Write the ESM without the embedding layer, which is the ETM's."""
    save_file(_without(esm, "\0"), folder / SELECTOR)
    (folder / SHAPE).write_text(json.dumps({"small": small}) + "\n", encoding="utf-8")


def load_esm(folder: Path, etm: ETM) -> ESM:
    """An ESM on the embedding layer of the ETM that it was trained for."""
    shape = json.loads((folder / SHAPE).read_text(encoding="utf-8"))
    esm = fresh_esm(etm, shape["small"], seed=0)
    esm.load_state_dict(load_file(folder / SELECTOR))
    return esm


def _without(module: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {
        name: weights.detach().contiguous()
        for name, weights in module.state_dict().items()
        if not name.startswith(prefix)
    }
