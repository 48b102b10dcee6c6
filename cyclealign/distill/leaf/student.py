"""The student (backbone -> pooling -> Dense -> L2 normalisation), and the asymmetric model of student and teacher."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Router, Transformer
from torch import nn
from transformers import AutoConfig

from cyclealign.distill.leaf.config import StudentSettings
from cyclealign.distill.leaf.rotations import Vectors
from cyclealign.distill.models.encoders import limit_layers, load_failure
from cyclealign.errors import DistillError
from cyclealign.policy.device import device


def new_student(
    backbone: str, settings: StudentSettings, dims: int, unit: bool, query_prompt: str, seed: int
) -> SentenceTransformer:
    """Return an untrained student.

    Args:
        backbone: a folder or Hugging Face id (for `demo`: the folder of the demo backbone).
        dims: size D of the teacher's vectors.
        unit: whether the teacher's vectors have length 1; the student's are then normalised.

    Raises:
        DistillError: the backbone cannot be loaded, or has fewer layers than the settings ask for.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)  # of the Dense layer's initial weights
        transformer = load_backbone(backbone, settings)
        transformer.auto_model.get_input_embeddings().requires_grad_(settings.train_word_vectors)
        if not settings.dropout:
            disable_dropout(transformer)
        width = transformer.get_embedding_dimension()
        modules: list[nn.Module] = [
            transformer,
            Pooling(width, settings.pooling),
            Dense(width, dims, bias=settings.dense_bias, activation_function=nn.Identity()),
        ]
    if unit:
        modules.append(Normalize())
    similarity = "cosine" if unit else "dot"
    prompts = {"query": query_prompt, "document": ""}
    return SentenceTransformer(modules=modules, prompts=prompts, similarity_fn_name=similarity, device=device())


def disable_dropout(backbone: nn.Module) -> None:
    """Set the probability of every dropout layer to 0, in attention too."""
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def load_backbone(backbone: str, settings: StudentSettings) -> Transformer:
    """Load the first ``settings.layers`` layers of an encoder, from safetensors and without running its own code.

    Raises:
        DistillError: it is missing or cannot be loaded, or has fewer layers.
    """
    source: dict[str, Any] = {"revision": settings.revision, "trust_remote_code": False}
    try:
        if settings.layers is not None:  # transformers would initialise missing layers at random, silently
            limit_layers(AutoConfig.from_pretrained(backbone, **source), settings.layers, backbone, "student.layers")
        layers = {} if settings.layers is None else {"num_hidden_layers": settings.layers}
        return Transformer(
            backbone,
            max_seq_length=settings.max_tokens,
            model_kwargs={**source, "use_safetensors": True},
            processor_kwargs=dict(source),
            config_kwargs={**source, **layers},
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise DistillError(
            f"The encoder '{backbone}' could not be loaded (student.backbone). Name a folder with config.json, "
            f"tokenizer and *.safetensors, or a Hugging Face id. ({load_failure(error)})"
        ) from error


def training_texts(student: SentenceTransformer, queries: Sequence[str], documents: Sequence[str]) -> list[str]:
    """Return queries with the student's instruction, then documents: one text per row of `Labels.training`."""
    return [student.prompts["query"] + text for text in queries] + list(documents)


def initialize_dense(
    student: SentenceTransformer,
    texts: Sequence[str],
    vectors_ND: Vectors,
    max_texts: int,
    seed: int,
    ridge: float = 1e-4,
) -> None:
    """Set the Dense layer to the least-squares map from the untrained backbone's pooled vectors to the teacher's.

    This is not in the paper. The closed-form solution replaces the first epochs, which matters in short runs.

    Args:
        vectors_ND: the teacher's vectors, one row per text.
        max_texts: size of the random sample of texts.
        ridge: penalty on the weights, relative to the mean square of the inputs.
    """
    transformer, pooling, dense = list(student)[:3]
    backbone = SentenceTransformer(modules=[transformer, pooling], device=device())
    sample = np.random.default_rng(seed).permutation(len(texts))[:max_texts]
    inputs_NW = torch.tensor(backbone.encode([texts[n] for n in sample], show_progress_bar=False), dtype=torch.float64)
    targets_ND = torch.tensor(vectors_ND[sample], dtype=torch.float64)
    if dense.bias:
        inputs_NW = torch.cat([inputs_NW, torch.ones(len(inputs_NW), 1, dtype=torch.float64)], dim=1)
    moments_WW = inputs_NW.T @ inputs_NW
    penalty = ridge * moments_WW.diagonal().mean()
    map_WD = torch.linalg.solve(moments_WW + penalty * torch.eye(len(moments_WW)), inputs_NW.T @ targets_ND)
    with torch.no_grad():
        dense.linear.weight.copy_(map_WD[: dense.in_features].T)
        if dense.bias:
            dense.linear.bias.copy_(map_WD[-1])


def asymmetric(
    student: SentenceTransformer, teacher: SentenceTransformer, axes_DD: NDArray[np.float64] | None
) -> SentenceTransformer:
    """Return one model with two branches: the student encodes queries, the teacher documents.

    Args:
        axes_DD: rotation of the teacher's vectors that the student was trained on, if any; it becomes a linear layer
            behind the teacher.
    """
    document_branch: list[Any] = list(teacher)
    if axes_DD is not None:
        weights_DD = torch.tensor(np.ascontiguousarray(axes_DD.T), dtype=torch.float32, device=teacher.device)
        dims = len(axes_DD)
        identity = nn.Identity()
        document_branch.append(Dense(dims, dims, bias=False, activation_function=identity, init_weight=weights_DD))
    router = Router.for_query_document(list(student), document_branch, default_route=None, allow_empty_key=False)  # type: ignore[arg-type]
    # Names under which the library looks for the prompt of documents, in its order.
    name = next((name for name in ("document", "passage", "corpus") if name in teacher.prompts), "")
    prompts = {"query": student.prompts["query"], "document": str(teacher.prompts.get(name) or "")}
    similarity = student.similarity_fn_name
    return SentenceTransformer(modules=[router], prompts=prompts, similarity_fn_name=similarity, device=device())


def save(model: SentenceTransformer, folder: Path) -> None:
    """Write a model that ``SentenceTransformer(folder)`` loads, with its weights as safetensors."""
    model.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)
