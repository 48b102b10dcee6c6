"""Per job: results on tiny fixed inputs (data, labels, losses, a briefly trained student, measures), and `STAGES`.

Measures are taken of fixed scores, not of students: a tie or a near one would turn float noise into another rank.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cyclealign.config import checked_settings
from cyclealign.distill.margin_mse.config import Arm
from cyclealign.distill.quantidce.config import ARMS


def wave(*shape: int, phase: float = 0.0) -> Tensor:
    """Fixed numbers from -2 to 2 without ties."""
    count = int(np.prod(shape))
    return 2 * torch.sin(torch.arange(count, dtype=torch.float32) * 1.7 + phase).reshape(shape)


def by_name(losses: Mapping[str, Callable[..., Tensor]], *given: Any) -> dict[str, Tensor]:
    """Each loss as a part of its own, so that one more is no change of the others."""
    return {f"loss {name}": loss(*given) for name, loss in losses.items()}


def silent(done: int, of: int) -> None:
    """Progress that nobody hears."""


def pld(folder: Path) -> dict[str, Any]:
    from cyclealign.distill.pld import data, evaluate, predict
    from cyclealign.distill.pld import model as classifier
    from cyclealign.distill.pld import train as student
    from cyclealign.distill.pld.config import Config
    from cyclealign.distill.pld.labels import label
    from cyclealign.distill.pld.losses import LOSSES

    model = {
        "sizes": {"embedding_size": 4, "hidden_sizes": [4], "depths": [1], "layer_type": "basic"},
        "epochs": 1,
        "batch": 8,
    }
    items = {"classes": 4, "train_per_class": 4, "valid_per_class": 1, "test_per_class": 2, "views": 2}
    items["image_size"] = 16
    config = checked_settings({"data": items, "teacher": model, "student": model}, "golden", Config)
    splits = data.load(config.data, config.seed)
    labels = label(folder, config, splits, silent, silent)
    fitted = classifier.build(config.student, splits.classes, False, 1, 1)
    student.fit(fitted, splits, labels["train"], "pld", config.student, {"tau": 2.0}, 1)
    student_logits, teacher_logits = wave(5, 4), wave(5, 4, phase=1.0)
    wanted = torch.tensor([0, 1, 2, 3, 1])
    arms = {
        "ce": evaluate.ArmResult((0.5, 0.25), 0, (0.5, 0.75), (0.75, 1.0)),
        "pld": evaluate.ArmResult((0.5, 0.75), 1, (0.75, 0.5), (1.0, 1.0)),
    }
    return {
        "data": [splits.train.inputs.mean(), splits.test.inputs.mean(), splits.train.labels],
        "labels": labels["test"],
        **by_name(LOSSES, student_logits, teacher_logits, wanted),
        "student": predict.logits(fitted, splits.test),
        "measures": [
            *evaluate.teacher_measures(teacher_logits.numpy(), wanted.numpy()),
            *evaluate.arm_measures(arms),
        ],
    }


def quantidce(folder: Path) -> dict[str, Any]:
    from cyclealign.distill.quantidce import data, evaluate, predict
    from cyclealign.distill.quantidce import losses as loss
    from cyclealign.distill.quantidce import model as student
    from cyclealign.distill.quantidce import train as teacher
    from cyclealign.distill.quantidce.config import DataSettings, EncoderSettings, PretrainingSettings, TuningSettings

    dialogues = data.load(DataSettings(contexts=12, responses=2), seed=0)
    sizes = {"hidden_size": 12, "num_attention_heads": 2, "intermediate_size": 16}
    metric = student.fresh(EncoderSettings(max_tokens=48, head=(8, 4), sizes=sizes), seed=0)
    first = PretrainingSettings(epochs=1, learning_rate=1e-3)
    teacher.pretrain(metric, dialogues.graded[:6], "mlr", first, 0, silent)
    ranked = predict.scores(metric, dialogues.scored[:8])
    second = TuningSettings(epochs=1, batch=4, learning_rate=1e-3)
    teacher.tune(metric, dialogues.scored[:8], second, True, 0, silent)
    scores, logits = wave(3, 2, 2).sigmoid(), wave(3, 2, 2)
    levels = loss.multi_level_ranking(scores)
    states = ([wave(2, 3)], [wave(2, 2)], wave(2)), ([wave(2, 3, phase=1)], [wave(2, 2, phase=1)], wave(2, phase=1))
    given, found = wave(9).double().numpy(), {"a": [wave(9, phase=0.5).double().numpy()], "b": [np.arange(9.0)]}
    held_out = dialogues.held_out[:1]
    responses = len(teacher.pairs_of(held_out[0]))
    return {
        "data": [each.score for each in dialogues.scored],
        "losses": [
            levels.separation,
            levels.compactness,
            levels.ordering,
            loss.pairwise_logistic(logits),
            loss.human_scores(scores[0, 0], wave(2)),
            loss.distillation(*states),
        ],
        "first stage": ranked,
        "second stage": predict.scores(metric, dialogues.scored[:8]),
        "measures": [
            *evaluate.agreement("test", found, given),
            *evaluate.levels("a", held_out, 3 + wave(responses).double().numpy()),
        ],
    }


def cprd(folder: Path) -> dict[str, Any]:
    from cyclealign.distill.cprd import data, evaluate, labels, predict, student
    from cyclealign.distill.cprd import losses as loss
    from cyclealign.distill.cprd import train as training
    from cyclealign.distill.cprd.config import Config

    small = {
        "data": {"train": 16, "test": 6, "image_size": 16},
        "student": {"epochs": 1, "layers": 1, "size": 16, "batch": 8},
        "distillation": {"num_hard_negatives": 4},
    }
    config = checked_settings(small, "golden", Config)
    splits = data.load(config.data, config.seed)
    scores = labels.simulated_scores(splits.train, config.teacher, config.seed)
    fitted = student.fresh(config.student, splits.train, config.data, 1)
    objective = training.Objective("cprd", scores, splits.train.image, config.distillation)
    training.fit(fitted, splits.train, objective, config.student, 1, silent)
    similarity, given = wave(4, 6) / 2, wave(4, 6, phase=1.0).sigmoid()
    truth, own = wave(5, 5, phase=2.0).sigmoid().double().numpy(), np.eye(5, dtype=bool)
    figures = [evaluate.figures(wave(5, 5, phase=run).double().numpy(), truth, own) for run in (0, 1, 2, 3)]
    negative = torch.ones(4, 6, dtype=torch.bool)
    adds = {
        f"loss {arm}": training.arm_term(arm, similarity, given, negative, config.distillation)
        for arm in ("kl all", "kl hard", "rank all", "untruncated", "cprd")
    }
    return {
        "data": [splits.train.images.mean(), splits.test.images.mean(), splits.train.overlap()[0]],
        "labels": scores[:3],
        "loss contrastive": loss.contrastive(wave(4, 4) / 2, 0.07, torch.tensor([0, 1, 1, 2])),
        **adds,
        "student": predict.similarities(fitted, splits.test),
        "measures": evaluate.measures({"none": figures[:2], "cprd": figures[2:]}),
    }


def leaf(folder: Path) -> dict[str, Any]:
    from cyclealign.distill.leaf import demo_models, evaluate, student, train
    from cyclealign.distill.leaf.config import EvaluationSettings, StudentSettings, TeacherSettings, TrainingSettings
    from cyclealign.distill.leaf.demo_data import DemoSizes, demo_corpus
    from cyclealign.distill.leaf.labels import label
    from cyclealign.distill.leaf.losses import embedding_distance
    from cyclealign.distill.leaf.predict import encode
    from cyclealign.distill.leaf.rotations import is_unit, principal_axes, random_rotation
    from cyclealign.distill.leaf.teacher_models import ModelTeacher

    corpus = demo_corpus(0, DemoSizes(12, 12, 4, 12))
    recipe = demo_models.TeacherRecipe(pairs=100, batch=50, hidden=16, layers=1, dims=(16, 8))
    teacher = ModelTeacher(str(demo_models.demo_teacher(folder, recipe=recipe)), TeacherSettings())
    labels = label(teacher, corpus, folder / "labels", 20, silent)
    backbone, unit = str(demo_models.demo_backbone(folder, 0)), is_unit(labels.task_documents)
    settings = StudentSettings(dropout=False, dense_start="least_squares")
    fitted = student.new_student(backbone, settings, 16, unit, teacher.query_prompt, 0)
    texts = student.training_texts(fitted, corpus.queries, corpus.documents)
    student.initialize_dense(fitted, texts, labels.training, 20, 0)
    steps = TrainingSettings(epochs=1, cycles=2, batch=8, learning_rate=1e-3)
    mean_loss = train.fit(fitted, texts, labels.training, steps, 0, folder / "steps", silent)
    arms = [
        evaluate.Arm("teacher", wave(3, 8).numpy(), wave(6, 8, phase=1.0).numpy()),
        evaluate.Arm("symmetric", wave(3, 8, phase=2.0).numpy(), wave(6, 8, phase=3.0).numpy()),
        evaluate.Arm("asymmetric", wave(3, 8, phase=2.0).numpy(), wave(6, 8, phase=1.0).numpy()),
    ]
    results = evaluate.search(arms, [], [{0: 1}, {1: 1, 2: 2}, {5: 1}], EvaluationSettings(dims=(4,)))
    return {
        "data": [list(each) for each in (map(len, corpus.queries), map(len, corpus.task.documents))],
        "labels": labels.task_queries,
        "loss l2": [embedding_distance(wave(3, 4), wave(3, 4, phase=1.0), squared) for squared in (False, True)],
        "turns": [np.abs(principal_axes(wave(9, 3).numpy())), random_rotation(3, 1)],
        "mean loss": mean_loss,
        "student": encode(fitted, corpus.task.queries, "query", 8),
        "measures": [*evaluate.retrieval_measures(results), *evaluate.closeness(arms)],
    }


def idcm(folder: Path) -> dict[str, Any]:
    from cyclealign.distill.idcm import checkpoints, evaluate, train
    from cyclealign.distill.idcm.config import DemoSettings, ESMSettings, ETMSettings, StageSettings, WindowSettings
    from cyclealign.distill.idcm.demo_data import demo_collection
    from cyclealign.distill.idcm.etm import TopWindows
    from cyclealign.distill.idcm.labels import window_scores
    from cyclealign.distill.idcm.losses import SELECTION_LOSSES, ranknet
    from cyclealign.distill.idcm.predict import esm_scores
    from cyclealign.distill.idcm.tokenized import Pair, TokenizedTexts, training_pairs

    sizes = DemoSettings(passages=8, train_queries=3, test_queries=2, candidates=3, min_passages=2, max_passages=5)
    collection = demo_collection(sizes, 0)
    stage = StageSettings(steps=2, batch=2, learning_rate=1e-3)
    settings = ETMSettings(model="demo", hidden=16, layers=1, passages=stage, documents=stage)
    encoder = checkpoints.encoder_source(settings, collection, folder / "encoder", 0)
    etm, tokenizer = checkpoints.etm_from(encoder, settings, 0)
    texts = TokenizedTexts(collection, tokenizer, WindowSettings())
    losses = train.fit_passages(etm, texts, collection.passages, stage, 0, silent)
    losses += train.fit_documents(etm, texts, collection.train, settings, 0, silent)
    pairs = training_pairs(collection.train, 1, 0)
    labels = window_scores(folder / "labels", "golden", etm, texts, pairs, silent)
    esm = checkpoints.new_esm(etm, False, 0)
    labelled = list(zip(pairs, labels, strict=True))
    losses += train.fit_selection(esm, texts, labelled, ESMSettings(training=stage), "ndcg2", 0, silent)
    tested = [Pair(query.query, document) for query in collection.test for document in query.candidates]
    fixed = [wave(4, phase=float(number)) for number in range(len(tested))]
    scores = evaluate.WindowScores.of(
        collection.test, tested, fixed, {"a": wave(len(tested), 4), "b": wave(len(tested), 4, phase=1)}
    )
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    # Relative to the first score: the loss does not determine the level, which Adam moves by rounding noise alone.
    student = esm_scores(esm, *texts.pairs(pairs[:3]))
    relative = (student[0] - student[0].flatten()[0])[student[1]]
    return {
        "data": [len(text) for text in (*collection.queries.values(), *collection.documents.values())],
        "labels": labels,
        "loss ranknet": ranknet(wave(4), wave(4, phase=1.0)),
        **by_name(SELECTION_LOSSES, wave(2, 5), wave(2, 5, phase=1.0), mask, 2),
        "training": losses,
        "student": relative,
        "measures": evaluate.measures(scores, TopWindows(2), (1, 2)),
    }


def margin_mse(folder: Path) -> dict[str, Any]:
    from cyclealign.distill.data.bm25 import bm25_run, candidate_ids
    from cyclealign.distill.margin_mse import data, evaluate, teacher_models
    from cyclealign.distill.margin_mse.config import Config
    from cyclealign.distill.margin_mse.demo_models import write_encoder
    from cyclealign.distill.margin_mse.labels import label_pairs, training_set, with_offsets
    from cyclealign.distill.margin_mse.losses import LOSSES
    from cyclealign.distill.margin_mse.students.registry import build_student
    from cyclealign.distill.margin_mse.train import fit

    demo = {"passages": 100, "train_queries": 10, "test_queries": 10}
    small = {
        "data": {"candidates": 8, "negatives": 2, "max_triples": 12, "demo": demo},
        "student": {"model": str(folder / "encoder"), "pooling": "mean", "query_tokens": 8, "passage_tokens": 12},
        "training": {"batch": 4, "epochs": 1, "learning_rate": 1e-3, "save_every": 0},
    }
    config = checked_settings(small, "golden", Config)
    collection = data.read_collection(config)
    write_encoder(folder / "encoder", [*collection.documents.values(), *collection.queries.values()], 0)
    queries = collection.queries_of("train")
    kept = candidate_ids(bm25_run(collection.documents, queries, config.data.candidates))
    triples = data.draw_triples(collection, "train", kept, config.data, config.seed)
    score = teacher_models.simulated(collection, config.data.demo.teacher_noise, config.seed)
    pairs = data.pairs_of(triples)
    labels = label_pairs(score, pairs, {}, folder / "labels", 10, silent)
    shifted = with_offsets(training_set(triples, labels), 2.0, config.seed)
    student = build_student(config.student, [], config.seed)
    mean_loss = fit(student, shifted, collection, "margin_mse", config.training, config.seed, folder / "steps")
    texts = [(collection.queries[query], collection.documents[passage]) for query, passage in pairs[:6]]
    run = {"q1": {"p1": 2.0, "p2": 1.0, "p3": 0.5}, "q2": {"p2": 3.0, "p3": 1.0}}
    other = {"q1": {"p1": 1.0, "p2": 2.0, "p3": 0.5}, "q2": {"p2": 1.0, "p3": 2.0}}
    qrels = {"q1": {"p2": 2, "p3": 1}, "q2": {"p3": 1}, "q3": {"p1": 1}}
    values = {
        name: evaluate.per_query(each, qrels, config.evaluation, recall=True)
        for name, each in (("a", run), ("b", other))
    }
    return {
        "data": [len(triples), list(kept[triples[0][0]]).index(triples[0][2])],
        "labels": list(labels.values()),
        **by_name(LOSSES, wave(3), wave(3, phase=1), wave(3, phase=2), wave(3, phase=3)),
        "mean loss": mean_loss,
        "student": student.score(texts),
        "measures": [
            *evaluate.measures_of("a", values["a"]),
            *evaluate.differences(values, "a", evaluate.ndcg_name(config.evaluation)),
        ],
    }


def opd(folder: Path) -> dict[str, Any]:
    from cyclealign.demo.policy import train_tokenizer, write_model
    from cyclealign.distill.opd import demo_data, evaluate, student, train
    from cyclealign.distill.opd.config import TrainingSettings
    from cyclealign.distill.opd.losses import answer_loss_sum, generalised_jsd
    from cyclealign.distill.opd.predict import Generation, Row, divergences
    from tests.distill.opd import conftest as tiny

    tokenizer = train_tokenizer([text for pair in tiny.PAIRS for text in pair], tiny.STUDENT)
    for name, recipe in (("student", tiny.STUDENT), ("teacher", tiny.TEACHER)):
        (folder / name).mkdir()
        write_model(folder / name, recipe, tiny.PAIRS, tokenizer, silent)
    teacher = student.model_of(student.Source("teacher.model", str(folder / "teacher")))
    rows = [Row(prompt, (7, 8, 9, 2)[:length]) for length, prompt in enumerate(tiny.PROMPTS, 1)]
    # Given answers: a sampled token could change by float noise.
    settings = TrainingSettings(
        method="full", steps=3, prompts_per_step=2, on_policy=0.0, beta=0.5, learning_rate=1e-3, save_every=0
    )
    fitted = student.trainable(student.Source("student.model", str(folder / "student")), settings, 0)
    generation = Generation(tokenizer, frozenset({2}), 4, 1.0)
    task = train.Task("opd", tiny.PROMPTS, rows, teacher, generation)
    losses = train.fit(fitted, task, settings, 0, folder / "steps", silent)
    values = {
        "teacher": evaluate.ArmValues(wave(5).double().numpy() + 3, None, None, np.arange(5.0)),
        "student before": evaluate.ArmValues(*(wave(5, phase=1).double().numpy(), *[np.arange(1.0, 6.0)] * 3)),
        "opd": evaluate.ArmValues(*(wave(5, phase=2).double().numpy(), *[np.arange(5.0)] * 3)),
    }
    pairs = demo_data.teacher_pairs(3, 2, 0)
    own, other = wave(4, 6), wave(4, 6, phase=1.0)
    return {
        "data": [demo_data.quality(*pair) for pair in pairs],
        **{f"loss {beta}": generalised_jsd(own, other, beta, 2.0) for beta in (0.0, 0.3, 1.0)},
        "loss sft": answer_loss_sum(own, torch.tensor([0, 1, 2, 3])),
        "training": losses,
        "student": divergences(fitted, teacher, rows, 1.0, 100),
        "measures": evaluate.measures(values, "quality"),
    }


def second_stage(module: Any, job: Any, config: Any) -> None:
    """Call QuantiDCE's second stage; its first stage, which comes before, does nothing."""
    job.step = lambda *_: None
    module.fit_arm(job, config, None, ARMS[0], 0)


# Per job: a call of the last stage of training, as far as its folder, and the settings that are irrelevant to it.
STAGES: dict[str, tuple[Callable[[Any, Any, Any], object], set[str]]] = {
    "cprd": (
        lambda module, job, config: module.fit(job, config, None, None, "cprd", 0),
        {"runs", "arms", "trainer.save_every"},
    ),
    "idcm": (
        lambda module, job, config: module.train_esm(job, config, None, None, [], "ndcg2"),
        {"evaluation", "esm.losses", "trainer.save_every"},
    ),
    "leaf": (
        lambda module, job, config: module.train_student(job, config, "student", None, None, None),
        {"evaluation"},
    ),
    "margin_mse": (
        lambda module, job, config: module.train_student(job, config, None, None, None, Arm("ranknet", 0.0)),
        {
            "training.arms",
            "training.offsets",
            "training.offset_arms",
            "evaluation.recall",
            "evaluation.dense",
            "evaluation.relevant_from",
        },
    ),
    "opd": (
        lambda module, job, config: module.train_student(config, job, None, None, None, "opd"),
        {"evaluation", "arms"},
    ),
    "pld": (
        lambda module, job, config: module.arm_runner(job, config, None, None).student_dir("pld", {"tau": 1.0}, 0),
        {"runs", "tuning_runs", "arms", "trainer.save_every"},
    ),
    "quantidce": (second_stage, {"runs", "arms", "trainer.save_every"}),
}
