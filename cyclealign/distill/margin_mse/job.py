"""Margin-MSE: label pairs once, train a student per loss, and evaluate all of them on the same queries."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from cyclealign.config import Section, settings_identity
from cyclealign.distill.data.bm25 import bm25_run, candidate_ids
from cyclealign.distill.data.retrieval import Run
from cyclealign.distill.margin_mse import data, evaluate, predict
from cyclealign.distill.margin_mse.config import DEMO, VERSION, Arm, Config, StudentSettings
from cyclealign.distill.margin_mse.demo_models import write_encoder
from cyclealign.distill.margin_mse.labels import (
    TrainingSet,
    label_key,
    label_pairs,
    run_of,
    training_set,
    unlabelled,
    with_offsets,
)
from cyclealign.distill.margin_mse.score_file import read_scores
from cyclealign.distill.margin_mse.student import Student
from cyclealign.distill.margin_mse.students.dot import BiEncoderStudent
from cyclealign.distill.margin_mse.students.registry import build_student, load_student, save_student
from cyclealign.distill.margin_mse.teacher_models import Scorer, ensemble, load_scorer
from cyclealign.distill.margin_mse.train import Validate, fit
from cyclealign.distill.models.encoders import model_identity
from cyclealign.distill.steps import Outcome, Steps, checkpoint_dir
from cyclealign.records import Metric
from cyclealign.records.distillation import Curve

__all__ = ["NAME", "VERSION", "Config", "inputs", "run"]

NAME = "margin-mse"


def inputs(config: Config) -> dict[str, str]:
    """Return the hashes of the data and models that the config names; demo data follow from the seed."""
    models = [*config.teacher.models, *([config.student.model] if config.student.kind != "tk" else [])]
    return data.input_hashes(config) | {name: model_identity(name) for name in models if name != DEMO}


def run(config: Config, steps: Steps) -> Outcome:
    """Distil a cross-encoder's score margins into a faster ranker, and compare other losses with it."""
    collection = steps.step("data", data.read_collection, config)
    score = steps.step("teacher", load_scorer, config, collection)
    candidates = steps.step("candidates", first_stage, config, collection)
    training, teacher_run = steps.step("label", label, steps, config, collection, candidates, score)
    students = {
        arm: steps.step(f"fit {arm.name}", train_student, steps, config, collection, candidates, training, arm)
        for arm in config.arms
    }
    runs = {"BM25": candidates, **({"teacher": teacher_run} if teacher_run else {})}
    measures, curves = steps.step("examine", measure, steps, config, collection, runs, students)
    return Outcome(measures, curves, students[config.arms[0]])


def first_stage(config: Config, collection: data.Collection) -> Run:
    """Return BM25's candidates of the queries of all splits."""
    queries = {key: text for split in config.splits for key, text in collection.queries_of(split).items()}
    return bm25_run(collection.documents, queries, config.data.candidates)


def label(
    steps: Steps, config: Config, collection: data.Collection, candidates: Run, score: Scorer | None
) -> tuple[TrainingSet, Run]:
    """Return the teacher's scores of the training triples, and its run of the test queries (empty for a score file)."""
    if config.teacher.scores is not None and config.teacher.kind == "scores":
        published = read_scores(Path(config.teacher.scores), collection, config.data.max_triples)
        trained_on = {query for query, _, _ in published.triples}
        collection.require_disjoint_queries(config.splits, (config.teacher.scores, trained_on))
        return published, {}
    ranked = candidate_ids(candidates)
    triples = data.draw_triples(collection, config.data.train_split, ranked, config.data, config.seed)
    models = list(config.teacher.models)
    if score is None:
        models = train_teachers(steps, config, collection, candidates, triples)
        score = ensemble(models, collection, config)
    made_of = label_key(config, collection, models)
    test_queries = collection.qrels[config.data.test_split]
    pairs = {
        "training": data.pairs_of(triples),
        "test": [(query, passage) for query in test_queries for passage in ranked.get(query, ())],
    }
    scores = {
        split: label_pairs(
            score, split_pairs, made_of, steps.labels, config.teacher.part, steps.progress(f"label {split} pairs")
        )
        for split, split_pairs in pairs.items()
    }
    return training_set(triples, scores["training"]), run_of(scores["test"])


def train_teachers(
    steps: Steps, config: Config, collection: data.Collection, candidates: Run, triples: list[data.Triple]
) -> list[str]:
    """Train the cross-encoders of the settings with RankNet on the judgements; return their folders."""
    folders = []
    for number, model in enumerate(config.teacher.models):
        folder = student_dir(steps, config, f"teacher {number}")
        if not folder.exists():
            settings = config.student.model_copy(update={"kind": "cat", "model": model, "layers": None})
            teacher = build_student(with_demo_encoder(steps, config, settings, collection), [], config.seed + number)
            fit(
                teacher,
                unlabelled(triples),
                collection,
                "ranknet",
                config.training,
                config.seed + number,
                checkpoint_dir(folder),
                steps.progress(f"train teacher {number + 1}"),
                validation(config, collection, candidates),
            )
            save_student(teacher, folder)
            shutil.rmtree(checkpoint_dir(folder), ignore_errors=True)
        folders.append(str(folder))
    return folders


def with_demo_encoder(
    steps: Steps, config: Config, settings: StudentSettings, collection: data.Collection
) -> StudentSettings:
    """Replace the model `demo` by the folder of the demo encoder, which is written on first use."""
    if settings.model != DEMO:
        return settings
    texts = [*collection.documents.values(), *collection.queries.values()]
    folder = steps.stage("encoder", stage_settings(config), lambda folder: write_encoder(folder, texts, 0))
    return settings.model_copy(update={"model": str(folder)})


def student_dir(steps: Steps, config: Config, name: str) -> Path:
    """Return the folder of a student or trained teacher."""
    return steps.stage_dir(name, *stage_settings(config))


def stage_settings(config: Config) -> list[Section | Mapping[str, object]]:
    """Return the settings that stages depend on; of the evaluation only the cutoff, if it selects the best weights."""
    training = settings_identity(config.training, exclude={"arms", "offsets", "offset_arms"})
    selection = {"cutoff": config.evaluation.cutoff if config.data.validation_split else None}
    return [config.data, config.teacher, config.student, training, selection]


def train_student(
    steps: Steps, config: Config, collection: data.Collection, candidates: Run, training: TrainingSet, arm: Arm
) -> Path:
    """Train the student of an arm unless its folder exists; return the folder.

    All arms start from the same weights and use the same triples.
    """
    folder = student_dir(steps, config, arm.name)
    checkpoints = checkpoint_dir(folder)
    if not folder.exists():
        settings = with_demo_encoder(steps, config, config.student, collection)
        student = build_student(settings, list(collection.documents.values()), config.seed)
        shifted = with_offsets(training, arm.offset, config.seed)
        on_progress, validate = steps.progress(f"fit {arm.name}"), validation(config, collection, candidates)
        fit(student, shifted, collection, arm.loss, config.training, config.seed, checkpoints, on_progress, validate)
        save_student(student, folder)
        shutil.rmtree(checkpoints, ignore_errors=True)
    return folder


def validation(config: Config, collection: data.Collection, candidates: Run) -> Validate | None:
    """Return a function from a student to its nDCG on the validation split; None without such a split."""
    split = config.data.validation_split
    if split is None:
        return None
    queries, ranked = collection.queries_of(split), candidate_ids(candidates)

    def validate(student: Student) -> float:
        run = predict.rerank(student, collection, queries, ranked)
        values = evaluate.per_query(run, collection.qrels[split], config.evaluation)
        return fmean(values[evaluate.ndcg_name(config.evaluation)])

    return validate


def measure(
    steps: Steps, config: Config, collection: data.Collection, runs: Mapping[str, Run], students: Mapping[Arm, Path]
) -> tuple[list[Metric], list[Curve]]:
    """Rank the test queries with all students, and measure them and the given runs."""
    split = config.data.test_split
    queries, ranked = collection.queries_of(split), candidate_ids(runs["BM25"])
    values = {name: evaluate.per_query(run, collection.qrels[split], config.evaluation) for name, run in runs.items()}
    on_progress = steps.progress("rank the test queries")
    dense: list[Metric] = []
    for number, (arm, folder) in enumerate(students.items()):
        on_progress(number, len(students))
        student = load_student(folder)
        run = predict.rerank(student, collection, queries, ranked)
        values[arm.name] = evaluate.per_query(run, collection.qrels[split], config.evaluation)
        if config.evaluation.dense and isinstance(student, BiEncoderStudent) and not arm.offset:
            dense_run = predict.retrieve(student, collection, queries, config.evaluation.recall)
            dense_values = evaluate.per_query(dense_run, collection.qrels[split], config.evaluation, recall=True)
            dense += evaluate.measures_of(arm.name, dense_values, "dense ")
    on_progress(len(students), len(students))
    ndcg = evaluate.ndcg_name(config.evaluation)
    measures = [mean for name, per_query in values.items() for mean in evaluate.measures_of(name, per_query)]
    measures += [*dense, *evaluate.differences(values, config.arms[0].name, ndcg)]
    return measures, evaluate.sweep_curves({arm: values[arm.name] for arm in students}, ndcg)
