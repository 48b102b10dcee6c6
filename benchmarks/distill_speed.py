"""Seconds and quality of the jobs' training against their peers: ``python -m benchmarks.distill_speed --json``.

Each job and its peer train the same student from the same weights on the same data, in as many steps of the same size,
one after the other in this process. Peers: sentence-transformers' trainer with MarginMSELoss (margin-mse) and
EmbedDistillLoss (leaf), a plain loop (pld), and a plain loop with open_clip's contrastive loss (cprd). The data are
those of the demos; ``--steps`` sets the length. Figures are worth comparing on an idle machine only.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import EmbedDistillLoss, MarginMSELoss
from torch import Tensor, nn
from torch.nn import functional
from transformers import PrinterCallback

Row = dict[str, Any]
THREADS = 2


def silent(done: int, of: int) -> None:
    """Take progress without showing it."""


def timed(call: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def plain_loop(
    model: nn.Module, batches: Iterable[Tensor], loss: Callable[[Tensor], Tensor], rate: float, steps: int
) -> None:
    """Train as one would by hand: AdamW, and a learning rate that falls along a cosine."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / steps))
    model.train()
    for batch in batches:
        optimizer.zero_grad()
        loss(batch).backward()
        optimizer.step()
        schedule.step()
    model.eval()


class Peer(SentenceTransformerTrainer):
    """The library's trainer without a model card, whose making is no part of training."""

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        pass


def train_as_the_library(model: SentenceTransformer, rows: Dataset, loss: nn.Module, batch: int, rate: float) -> None:
    """Train one epoch with sentence-transformers' trainer, without checkpoints."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=batch,
            num_train_epochs=1,
            learning_rate=rate,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        trainer = Peer(model=model, args=arguments, train_dataset=rows, loss=loss)
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def row(job: str, metric: str, ours: tuple[float, float], peer: tuple[float, float]) -> Row:
    """Return a row of the table, from seconds and metric of both sides."""
    return {
        "job": job,
        "metric": metric,
        "ours_seconds": round(ours[0], 3),
        "peer_seconds": round(peer[0], 3),
        "metric_ours": round(ours[1], 4),
        "metric_peer": round(peer[1], 4),
    }


def pld(steps: int, folder: Path) -> Row:
    """Hinton's distillation of a small network on the demo's drawings."""
    from cyclealign.distill.pld import data, model, predict, train
    from cyclealign.distill.pld.config import Config
    from cyclealign.distill.pld.evaluate import accuracy

    sizes = {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "layer_type": "basic"}
    config = Config.model_validate({"student": {"sizes": sizes, "batch": 32, "epochs": max(1, steps // 25)}})
    splits, student = data.load(config.data, 0), config.student
    per_epoch = -(-len(splits.train.labels) // student.batch)
    labels = torch.from_numpy(splits.train.labels)
    logits = 4 * functional.one_hot(labels, len(splits.classes)).float().numpy()

    def build() -> Any:
        return model.build(student, splits.classes, False, 1, 0)

    def measured(classifier: Any, call: Callable[[], object]) -> tuple[float, float]:
        return timed(call), accuracy(predict.logits(classifier, splits.test), splits.test.labels)

    ours, peer = build(), build()
    tried = {"alpha": 0.5, "tau": 2.0}
    batches = [*train.batches(len(labels), 1, student.epochs, per_epoch, 0)]
    teacher = torch.from_numpy(logits)

    def loss(batch: Tensor) -> Tensor:
        out = peer(splits.train.inputs[batch.numpy()])
        soft = functional.kl_div(
            (out / 2).log_softmax(1), (teacher[batch] / 2).log_softmax(1), log_target=True, reduction="batchmean"
        )
        return 0.5 * functional.cross_entropy(out, labels[batch]) + 0.5 * 4 * soft

    return row(
        "pld",
        "accuracy",
        measured(ours, lambda: train.fit(ours, splits, logits, "kd", student, tried, 0)),
        measured(peer, lambda: plain_loop(peer.model, batches, loss, student.learning_rate, len(batches))),
    )


def cprd(steps: int, folder: Path) -> Row:
    """The contrastive loss alone, on the demo's scenes."""
    from cyclealign.distill.cprd import data, evaluate, predict, student, train
    from cyclealign.distill.cprd.config import Config

    config = Config.model_validate({"student": {"epochs": max(1, steps // 9)}, "distillation": {"queue": 0}})
    splits, settings = data.load(config.data, 0), config.student
    per_epoch = max(1, len(splits.train) // settings.batch)
    temperature = config.distillation.temperature
    ours, peer = (student.fresh(settings, splits.train, config.data, 0) for _ in range(2))
    scores = np.zeros((len(splits.train.images), len(splits.train)), dtype=np.float32)
    objective = train.Objective("none", scores, splits.train.image, config.distillation)
    batches = [*train.batches(len(splits.train), settings, per_epoch, 0)]

    def loss(batch: Tensor) -> Tensor:
        images = peer.of_images(splits.train.images[splits.train.image[batch.numpy()]])
        texts = peer.of_texts([splits.train.texts[number] for number in batch.tolist()])
        logits, own = images @ texts.T / temperature, torch.arange(len(batch))
        return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2

    def measured(dual: Any, call: Callable[[], object]) -> tuple[float, float]:
        seconds = timed(call)
        return seconds, evaluate.recall(predict.similarities(dual, splits.test), splits.test.own(), 1)

    return row(
        "cprd",
        "recall@1",
        measured(ours, lambda: train.fit(ours, splits.train, objective, settings, 0, silent)),
        measured(peer, lambda: plain_loop(peer.model, batches, loss, settings.learning_rate, len(batches))),
    )


def leaf(steps: int, folder: Path) -> Row:
    """A small student of vectors that a random map of word counts gives; the metric is the mean cosine to them."""
    from cyclealign.distill.leaf import demo_models, student, train
    from cyclealign.distill.leaf.config import StudentSettings, TrainingSettings
    from cyclealign.distill.leaf.demo_data import demo_corpus

    corpus, batch, dims = demo_corpus(0), 32, 64
    texts = [*corpus.documents, *corpus.queries][: steps * batch]
    words = {word: number for number, word in enumerate(sorted({word for text in texts for word in text.split()}))}
    of_words = np.random.default_rng(0).normal(size=(len(words), dims))
    summed = np.stack([of_words[[words[word] for word in text.split()]].sum(0) for text in texts])
    vectors = (summed / np.linalg.norm(summed, axis=1, keepdims=True)).astype(np.float32)
    backbone = str(demo_models.demo_backbone(folder, 0))
    settings = TrainingSettings(epochs=1, cycles=1, batch=batch, learning_rate=1e-3, last_learning_rate=0.0)
    ours, peer = (student.new_student(backbone, StudentSettings(), dims, True, "", 0) for _ in range(2))
    rows = Dataset.from_dict({"text": texts, "label": vectors})

    def measured(model: SentenceTransformer, call: Callable[[], object]) -> tuple[float, float]:
        seconds = timed(call)
        found = np.asarray(model.encode(texts[:512], show_progress_bar=False))
        return seconds, float((found * vectors[:512]).sum(1).mean())

    loss = EmbedDistillLoss(peer, distance_metric="l2")
    return row(
        "leaf",
        "cosine to the teacher",
        measured(ours, lambda: train.fit(ours, texts, vectors, settings, 0, folder / "steps", silent)),
        measured(peer, lambda: train_as_the_library(peer, rows, loss, batch, 1e-3)),
    )


def margin_mse(steps: int, folder: Path) -> Row:
    """The dot student on the demo's triples; the metric is the correlation of margins with the teacher's."""
    from cyclealign.distill.data.bm25 import bm25_run, candidate_ids
    from cyclealign.distill.margin_mse import data, teacher_models
    from cyclealign.distill.margin_mse.config import Config
    from cyclealign.distill.margin_mse.demo_models import write_encoder
    from cyclealign.distill.margin_mse.labels import label_pairs, training_set
    from cyclealign.distill.margin_mse.students.registry import build_student
    from cyclealign.distill.margin_mse.train import fit

    student = {"model": str(folder / "encoder"), "pooling": "mean"}
    loop = {"batch": 32, "epochs": 1, "learning_rate": 1e-3, "save_every": 0}
    settings = {"data": {"max_triples": 32 * steps, "candidates": 100}, "student": student, "training": loop}
    config = Config.model_validate(settings)
    collection = data.read_collection(config)
    write_encoder(folder / "encoder", [*collection.documents.values(), *collection.queries.values()], 0)
    kept = candidate_ids(bm25_run(collection.documents, collection.queries_of("train"), config.data.candidates))
    triples = data.draw_triples(collection, "train", kept, config.data, 0)
    score = teacher_models.simulated(collection, config.data.demo.teacher_noise, 0)
    labels = label_pairs(score, data.pairs_of(triples), {}, folder / "labels", 50_000, silent)
    given = training_set(triples, labels)
    texts = [
        (collection.queries[one], collection.documents[two], collection.documents[three]) for one, two, three in triples
    ]
    margins = given.scores_T2[:, 0] - given.scores_T2[:, 1]
    columns = dict(zip(("query", "positive", "negative"), zip(*texts, strict=True), strict=True))
    rows = Dataset.from_dict({**{name: list(values) for name, values in columns.items()}, "label": margins.tolist()})
    ours, peer = (build_student(config.student, [], 0) for _ in range(2))

    def measured(ranker: Any, call: Callable[[], object]) -> tuple[float, float]:
        seconds, tested = timed(call), texts[:256]
        better, worse = (ranker.score([(each[0], each[side]) for each in tested]) for side in (1, 2))
        return seconds, float(np.corrcoef(better - worse, np.asarray(margins)[:256])[0, 1])

    loss = MarginMSELoss(peer.model)
    return row(
        "margin-mse",
        "correlation of margins",
        measured(ours, lambda: fit(ours, given, collection, "margin_mse", config.training, 0, folder / "steps")),
        measured(peer, lambda: train_as_the_library(peer.model, rows, loss, 32, 1e-3)),
    )


JOBS: dict[str, Callable[[int, Path], Row]] = {"margin-mse": margin_mse, "leaf": leaf, "pld": pld, "cprd": cprd}


def main() -> None:
    """Print the rows of the jobs that are named, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", choices=[*JOBS, []], help="jobs to measure; default: all")
    parser.add_argument("--steps", type=int, default=200, help="optimizer steps of each side, about")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    rows = []
    for job in given.jobs or JOBS:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(JOBS[job](given.steps, Path(folder)))
    if given.json:
        print(json.dumps(rows, indent=2))
    else:
        for each in rows:
            print("  ".join(f"{name} {value}" for name, value in each.items()))


if __name__ == "__main__":
    main()
