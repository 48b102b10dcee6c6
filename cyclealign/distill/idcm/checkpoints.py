"""Create, save and load ETM and ESM: encoder and tokenizer in transformers' format, the rest as safetensors."""

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
from cyclealign.distill.models.encoders import limit_layers, load_failure
from cyclealign.errors import DistillError
from cyclealign.files import appearing_folder
from cyclealign.policy.device import device

ETM_HEAD, ESM_WEIGHTS, ESM_SHAPE = "etm_head.safetensors", "esm.safetensors", "esm.json"


def encoder_source(settings: ETMSettings, collection: Collection, demo_folder: Path, seed: int) -> str | Path:
    """Return the encoder of the settings, or ``demo_folder``, into which the demo encoder is written if it is new."""
    if settings.model != DEMO:
        return settings.model
    if not demo_folder.exists():
        triples = (text for triple in collection.passages for text in (triple.query, triple.positive, triple.negative))
        texts = chain(triples, collection.queries.values(), collection.documents.values())
        with appearing_folder(demo_folder) as folder:
            demo_models.write_encoder(folder, texts, settings.hidden, settings.layers or demo_models.LAYERS, seed)
    return demo_folder


def etm_from(source: str | Path, settings: ETMSettings, seed: int) -> tuple[ETM, Any]:
    """Return an ETM and its tokenizer: the one that `save_etm` wrote to ``source``, or a new head on that encoder."""
    return load_etm(Path(source)) if (Path(source) / ETM_HEAD).is_file() else new_etm(settings, str(source), seed)


def new_etm(settings: ETMSettings, source: str, seed: int) -> tuple[ETM, Any]:
    """Return an ETM with a new head on a pretrained encoder, and its tokenizer.

    Args:
        source: folder or Hugging Face id of the encoder.

    Raises:
        DistillError: the encoder cannot be loaded, or has fewer layers than the settings ask for.
    """
    try:
        config = AutoConfig.from_pretrained(source, revision=settings.revision, trust_remote_code=False)
        limit_layers(config, settings.layers, source, "etm.layers")
        encoder = _encoder(source, config, settings.revision)
        encoder.config.etm_pooling, encoder.config.etm_precision = settings.pooling, settings.precision
        tokenizer = AutoTokenizer.from_pretrained(source, revision=settings.revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise DistillError(f"etm.model: '{source}' cannot be loaded as an encoder: {load_failure(error)}") from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        etm = ETM(encoder, settings.top).eval()
    if settings.pooling == "match":
        etm.start_from_match()
    return etm.to(device()), tokenizer


def _encoder(source: str | Path, config: Any, revision: str | None = None) -> Any:
    """Load an encoder without its pooler, which is unused, and random where the weights lack it."""
    model_class = MODEL_MAPPING.get(type(config), None)
    has_pooler = isinstance(model_class, type) and "add_pooling_layer" in signature(model_class).parameters
    options = {"add_pooling_layer": False} if has_pooler else {}
    return AutoModel.from_pretrained(
        source, config=config, revision=revision, use_safetensors=True, trust_remote_code=False, **options
    )


def new_esm(etm: ETM, small: bool, seed: int) -> ESM:
    """Return an untrained ESM on ETM's embedding layer and device; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ESM(etm.embeddings, int(etm.encoder.config.hidden_size), small).eval().to(etm.head.weight.device)


def save_etm(folder: Path, etm: ETM, tokenizer: Any) -> None:
    """Write ETM and its tokenizer for `load_etm`."""
    etm.encoder.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    save_file(_state(etm, without="encoder."), folder / ETM_HEAD)


def load_etm(folder: Path) -> tuple[ETM, Any]:
    """Load an ETM and its tokenizer, on the GPU if one is available."""
    head = load_file(folder / ETM_HEAD)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    etm = ETM(_encoder(folder, config), len(head["aggregate.weights_L"]))
    etm.load_state_dict(head, strict=False)
    return etm.eval().to(device()), AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def save_esm(folder: Path, esm: ESM, small: bool) -> None:
    """Write an ESM for `load_esm`, without the embedding layer, which belongs to ETM."""
    save_file(_state(esm), folder / ESM_WEIGHTS)
    (folder / ESM_SHAPE).write_text(json.dumps({"small": small}) + "\n", encoding="utf-8")


def load_esm(folder: Path, etm: ETM) -> ESM:
    """Load an ESM on the embedding layer of the ETM that it was trained with."""
    shape = json.loads((folder / ESM_SHAPE).read_text(encoding="utf-8"))
    esm = new_esm(etm, shape["small"], seed=0)
    esm.load_state_dict(load_file(folder / ESM_WEIGHTS))
    return esm


def _state(module: nn.Module, without: str | None = None) -> dict[str, torch.Tensor]:
    """Return the weights of a module, except those whose names start with ``without``."""
    return {
        name: weights.detach().contiguous()
        for name, weights in module.state_dict().items()
        if without is None or not name.startswith(without)
    }
