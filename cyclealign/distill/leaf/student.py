"""The student: backbone -> pooling -> Dense -> L2 normalisation; and the asymmetric model of student and teacher."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Router, Transformer
from torch import Tensor, nn
from transformers import AutoConfig

from cyclealign.distill.leaf.config import StudentSettings, TrainingSettings
from cyclealign.distill.leaf.losses import embedding_distance
from cyclealign.distill.leaf.rotations import Vectors
from cyclealign.distill.leaf.train import Schedule, train
from cyclealign.distill.models.encoders import reason
from cyclealign.errors import DistillError
from cyclealign.policy.device import device


def new_student(
    backbone: str, settings: StudentSettings, dims: int, unit: bool, query_prompt: str, seed: int
) -> SentenceTransformer:
    """An untrained student.

    Args:
        backbone: a folder or hub id (the demo's folder, where the settings say `demo`).
        dims: size D of the teacher's vectors.
        unit: whether the teacher's vectors have length 1; the student's are normalised then.

    Raises:
        DistillError: the backbone cannot be loaded, or has fewer layers than are to be kept.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)  # for the Dense layer's first weights
        transformer = load_backbone(backbone, settings)
        transformer.auto_model.get_input_embeddings().requires_grad_(settings.train_word_vectors)
        if not settings.dropout:
            without_dropout(transformer)
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


def without_dropout(backbone: nn.Module) -> None:
    """Let every training step see the whole network."""
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def load_backbone(backbone: str, settings: StudentSettings) -> Transformer:
    """An encoder from safetensors, the first ``settings.layers`` layers of it."""
    more: dict[str, Any] = {"revision": settings.revision, "trust_remote_code": False}
    try:
        if settings.layers is not None:
            have = AutoConfig.from_pretrained(backbone, **more).num_hidden_layers
            if settings.layers > have:  # the others would be made up, silently
                raise DistillError(f"student.layers is {settings.layers}, but '{backbone}' has {have} layers.")
        kept = {} if settings.layers is None else {"num_hidden_layers": settings.layers}
        return Transformer(
            backbone,
            max_seq_length=settings.max_tokens,
            model_kwargs={**more, "use_safetensors": True},
            processor_kwargs=dict(more),
            config_kwargs={**more, **kept},
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise DistillError(
            f"No encoder '{backbone}' could be loaded (student.backbone). Give a folder with config.json, tokenizer "
            f"and *.safetensors, or a Hugging Face id. ({reason(error)})"
        ) from error


def training_texts(student: SentenceTransformer, queries: Sequence[str], documents: Sequence[str]) -> list[str]:
    """Queries with their instruction, then documents: what the student reads, row by row of the labels."""
    return [student.prompts["query"] + text for text in queries] + list(documents)


def start_dense(
    student: SentenceTransformer,
    texts: Sequence[str],
    vectors_ND: Vectors,
    at_most: int,
    seed: int,
    ridge: float = 1e-4,
) -> None:
    """Set the Dense layer to the least-squares map from the untrained backbone's pooled vectors to the teacher's.

    Ours, not the paper's: in closed form it spares the first epochs, where a short run has few.

    Args:
        vectors_ND: the teacher's, one row a text.
        at_most: so many texts are drawn.
        ridge: penalty on the weights, as a share of the mean square of the inputs.
    """
    transformer, pooling, dense = list(student)[:3]
    backbone = SentenceTransformer(modules=[transformer, pooling], device=device())
    drawn = np.random.default_rng(seed).permutation(len(texts))[:at_most]
    inputs_NW = torch.tensor(backbone.encode([texts[n] for n in drawn], show_progress_bar=False), dtype=torch.float64)
    targets_ND = torch.tensor(vectors_ND[drawn], dtype=torch.float64)
    if dense.bias:
        inputs_NW = torch.cat([inputs_NW, torch.ones(len(inputs_NW), 1, dtype=torch.float64)], dim=1)
    moments_WW = inputs_NW.T @ inputs_NW
    penalty = ridge * moments_WW.diagonal().mean()
    map_WD = torch.linalg.solve(moments_WW + penalty * torch.eye(len(moments_WW)), inputs_NW.T @ targets_ND)
    with torch.no_grad():
        dense.linear.weight.copy_(map_WD[: dense.in_features].T)
        if dense.bias:
            dense.linear.bias.copy_(map_WD[-1])


class EmbeddingDistance(nn.Module):
    """`embedding_distance` as the trainer wants it: features of one text column in, a scalar out."""

    def __init__(self, student: SentenceTransformer, squared: bool) -> None:
        super().__init__()
        self.model = student
        self.squared = squared

    def forward(self, features: Sequence[dict[str, Tensor]], labels: Tensor) -> Tensor:
        (texts,) = features
        student_BD = self.model(texts)["sentence_embedding"]
        return embedding_distance(student_BD.float(), labels.to(student_BD.device).float(), self.squared)


def fit(
    student: SentenceTransformer,
    texts: Sequence[str],
    vectors_ND: Vectors,
    settings: TrainingSettings,
    seed: int,
    folder: Path,
    progress: Callable[[int, int], None],
) -> float:
    """Train in place on the teacher's vectors; return the mean loss.

    Args:
        vectors_ND: one row a text.
        folder: for checkpoints, one an epoch: a run that was stopped goes on from the last one.
    """
    rows = Dataset.from_dict({"text": list(texts), "label": vectors_ND})
    loss = EmbeddingDistance(student, settings.loss == "squared_l2")
    return train(student, rows, loss, Schedule.of(settings), seed, folder, progress)


def asymmetric(
    student: SentenceTransformer, teacher: SentenceTransformer, axes_DD: NDArray[np.float64] | None
) -> SentenceTransformer:
    """One model with two branches: queries by the student, documents by the teacher.

    Args:
        axes_DD: what the teacher's vectors were multiplied with before the student learnt them, if they were; it
            becomes a linear layer after the teacher.
    """
    branch: list[Any] = list(teacher)
    if axes_DD is not None:
        turn_DD = torch.tensor(np.ascontiguousarray(axes_DD.T), dtype=torch.float32, device=teacher.device)
        dims = len(axes_DD)
        branch.append(Dense(dims, dims, bias=False, activation_function=nn.Identity(), init_weight=turn_DD))
    router = Router.for_query_document(list(student), branch, default_route=None, allow_empty_key=False)  # type: ignore[arg-type]
    # The names, in this order, under which the library looks for what stands before documents.
    named = next((name for name in ("document", "passage", "corpus") if name in teacher.prompts), "")
    prompts = {"query": student.prompts["query"], "document": str(teacher.prompts.get(named) or "")}
    similarity = student.similarity_fn_name
    return SentenceTransformer(modules=[router], prompts=prompts, similarity_fn_name=similarity, device=device())


def save(model: SentenceTransformer, folder: Path) -> None:
    """Write a model so that ``SentenceTransformer(folder)`` loads it; weights are safetensors."""
    model.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)
