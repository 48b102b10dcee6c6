"""Margin-MSE: label once, fit a student for each loss, examine all with one evaluator."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from cyclealign.config import settings_identity
from cyclealign.distill.data.bm25 import bm25, candidate_ids
from cyclealign.distill.data.retrieval import Run
from cyclealign.distill.margin_mse import data, evaluate, predict, teacher
from cyclealign.distill.margin_mse.config import DEMO, VERSION, Arm, Config, StudentSettings
from cyclealign.distill.margin_mse.demo_models import write_tiny_encoder
from cyclealign.distill.margin_mse.student import build_student, load_student, save_student
from cyclealign.distill.margin_mse.students import Student
from cyclealign.distill.margin_mse.students.dot import BiEncoderStudent
from cyclealign.distill.margin_mse.train import TrainingSet, Validate, fit, with_offsets
from cyclealign.distill.steps import Outcome, Steps, checkpoint_dir
from cyclealign.files import appearing_folder
from cyclealign.records import Metric
from cyclealign.records.distillation import Curve

__all__ = ["NAME", "VERSION", "Config", "inputs", "run"]

NAME = "margin-mse"


def inputs(config: Config) -> dict[str, str]:
    """Return the hashes of the data and models that the config names."""
    return teacher.inputs_of(config)


def run(config: Config, steps: Steps) -> Outcome:
    """Distil a cross-encoder's score margins into a faster ranker, beside other losses."""
    collection = steps.step("data", data.load_collection, config)
    score = steps.step("teacher", teacher.ready, config, collection)
    found = steps.step("candidates", first_stage, config, collection)
    lesson, teachers = steps.step("label", label, steps, config, collection, found, score)
    students = {
        arm: steps.step(f"fit {arm.name}", fitted, steps, config, collection, found, lesson, arm) for arm in config.arms
    }
    runs = {"BM25": found, **({"teacher": teachers} if teachers else {})}
    measures, curves = steps.step("examine", examine, steps, config, collection, runs, students)
    return Outcome(measures, curves, students[config.arms[0]])


def first_stage(config: Config, collection: data.Collection) -> Run:
    """BM25's candidates of all queries that the run needs."""
    queries = {key: text for split in config.splits for key, text in collection.asked(split).items()}
    return bm25(collection.documents, queries, config.data.candidates)


def label(
    steps: Steps, config: Config, collection: data.Collection, found: Run, score: teacher.Scorer | None
) -> tuple[TrainingSet, Run]:
    """The teacher's scores of the training triples and of the test candidates; a score file has the former only."""
    if config.teacher.scores is not None and config.teacher.kind == "scores":
        lesson = teacher.read_scores(Path(config.teacher.scores), collection, config.data.max_triples)
        learnt = {query for query, _, _ in lesson.triples}
        collection.refuse_shared_queries(config.splits, (config.teacher.scores, learnt))
        return lesson, {}
    kept = candidate_ids(found)
    triples = data.draw_triples(collection, config.data.train_split, kept, config.data, config.seed)
    models = list(config.teacher.models)
    if score is None:
        models = teachers_trained(steps, config, collection, found, triples)
        score = teacher.ensemble(models, collection, config)
    made_of = teacher.made_of(config, collection, models)
    told = [
        teacher.label_pairs(
            score, pairs, made_of, steps.labels, config.teacher.part, steps.progress(f"label {split} pairs")
        )
        for split, pairs in (
            ("training", data.pairs_of(triples)),
            (
                "test",
                [(query, each) for query in collection.qrels[config.data.test_split] for each in kept.get(query, ())],
            ),
        )
    ]
    return teacher.lesson_of(triples, told[0]), teacher.run_of(told[1])


def teachers_trained(
    steps: Steps, config: Config, collection: data.Collection, found: Run, triples: list[data.Triple]
) -> list[str]:
    """The folders of the cross-encoders of the settings, each trained by RankNet on the judgements, as a student is."""
    validate, folders = validation(config, collection, found), []
    for number, model in enumerate(config.teacher.models):
        folder = place_of(steps, config, f"teacher {number}")
        if not folder.exists():
            settings = config.student.model_copy(update={"kind": "cat", "model": model, "layers": None})
            student = build_student(usable(steps, config, settings, collection), [], config.seed + number)
            lesson = teacher.unlabelled(triples)
            tells = steps.progress(f"train teacher {number + 1}")
            checkpoints = checkpoint_dir(folder)
            fit(
                student,
                lesson,
                collection,
                "ranknet",
                config.training,
                config.seed + number,
                checkpoints,
                tells,
                validate,
            )
            save_student(student, folder)
            shutil.rmtree(checkpoints, ignore_errors=True)
        folders.append(str(folder))
    return folders


def usable(steps: Steps, config: Config, settings: StudentSettings, collection: data.Collection) -> StudentSettings:
    """The settings with the demo's encoder, made on the spot, in the place of its name."""
    if settings.model != DEMO:
        return settings
    folder = place_of(steps, config, "encoder")
    if not folder.exists():
        texts = [*collection.documents.values(), *collection.queries.values()]
        with appearing_folder(folder) as made:
            write_tiny_encoder(made, texts, 0)
    return settings.model_copy(update={"model": str(folder)})


def place_of(steps: Steps, config: Config, name: str) -> Path:
    """The folder of what has that name; of what is measured only the cut-off bears on it, where it chooses weights."""
    training = settings_identity(config.training, exclude={"arms", "offsets", "offset_arms"})
    chosen_by = {"cutoff": config.evaluation.cutoff if config.data.validation_split else None}
    return steps.stage_dir(name, config.data, config.teacher, config.student, training, chosen_by)


def fitted(
    steps: Steps, config: Config, collection: data.Collection, found: Run, lesson: TrainingSet, arm: Arm
) -> Path:
    """Train one student; the folder that it lies in. All start from the same weights and see the same triples."""
    folder = place_of(steps, config, arm.name)
    checkpoints = checkpoint_dir(folder)
    if not folder.exists():
        student = build_student(
            usable(steps, config, config.student, collection), list(collection.documents.values()), config.seed
        )
        moved = with_offsets(lesson, arm.offset, config.seed)
        tells, validate = steps.progress(f"fit {arm.name}"), validation(config, collection, found)
        fit(student, moved, collection, arm.loss, config.training, config.seed, checkpoints, tells, validate)
        save_student(student, folder)
        shutil.rmtree(checkpoints, ignore_errors=True)
    return folder


def validation(config: Config, collection: data.Collection, found: Run) -> Validate | None:
    """nDCG of re-ranking the candidates of the validation split; None where nothing is to be validated."""
    split = config.data.validation_split
    if split is None:
        return None
    queries, kept = collection.asked(split), candidate_ids(found)

    def validate(at: Student) -> float:
        run = predict.rerank(at, collection, queries, kept)
        values = evaluate.per_query(run, collection.qrels[split], config.evaluation)
        return fmean(values[evaluate.ndcg(config.evaluation)])

    return validate


def examine(
    steps: Steps, config: Config, collection: data.Collection, runs: Mapping[str, Run], students: Mapping[Arm, Path]
) -> tuple[list[Metric], list[Curve]]:
    """Rank the test queries with everything, and measure."""
    split = config.data.test_split
    queries, kept = collection.asked(split), candidate_ids(runs["BM25"])
    values = {name: evaluate.per_query(run, collection.qrels[split], config.evaluation) for name, run in runs.items()}
    dense: list[Metric] = []
    for number, (arm, folder) in enumerate(students.items()):
        steps.progress("rank the test queries")(number, len(students))
        student = load_student(folder)
        run = predict.rerank(student, collection, queries, kept)
        values[arm.name] = evaluate.per_query(run, collection.qrels[split], config.evaluation)
        if config.evaluation.dense and isinstance(student, BiEncoderStudent) and not arm.offset:
            far = predict.retrieve(student, collection, queries, config.evaluation.recall)
            found = evaluate.per_query(far, collection.qrels[split], config.evaluation, recall=True)
            dense += evaluate.measures_of(arm.name, found, "dense ")
    steps.progress("rank the test queries")(len(students), len(students))
    ndcg, first = evaluate.ndcg(config.evaluation), config.arms[0].name
    measures = [each for name, found in values.items() for each in evaluate.measures_of(name, found)]
    measures += [*dense, *evaluate.differences(values, first, ndcg)]
    swept = {arm: values[arm.name] for arm in students}
    return measures, evaluate.sweep_curves(swept, ndcg)
