"""Margin-MSE as a Prefect flow: label once, fit a student for each loss, examine all with one evaluator."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from prefect import flow

from cyclealign.config import load_settings, settings_identity
from cyclealign.distill.data.bm25 import bm25, candidate_ids
from cyclealign.distill.data.retrieval import Run
from cyclealign.distill.margin_mse import data, evaluate, predict, teacher
from cyclealign.distill.margin_mse.config import DEMO, Arm, Config, StudentSettings
from cyclealign.distill.margin_mse.demo_models import write_tiny_encoder
from cyclealign.distill.margin_mse.student import build_student, load_student, save_student
from cyclealign.distill.margin_mse.students import Student
from cyclealign.distill.margin_mse.students.dot import BiEncoderStudent
from cyclealign.distill.margin_mse.train import TrainingSet, Validate, fit, with_offsets
from cyclealign.distill.run import Job, opened
from cyclealign.files import EXAMPLES, appearing_folder
from cyclealign.records.distillation import Measure

# The form in the UI is filled from this instance: the demo's settings, which work at once on any machine.
FORM = load_settings(EXAMPLES / "margin-mse-demo.toml", Config)


@flow(name="margin-mse", flow_run_name="margin-mse-seed-{config.seed}", persist_result=False, validate_parameters=True)
def margin_mse(config: Config = FORM) -> int:
    """Distil a cross-encoder's score margins into a faster ranker, beside other losses.

    Args:
        config: The collection, the teacher, the student and the losses.

    Returns:
        The id of the run in the history.
    """
    with opened("margin_mse", config, teacher.inputs_of(config)) as job:
        if job.finished:
            return job.id
        collection = job.step("data", data.load_collection, config)
        score = job.step("teacher", teacher.ready, config, collection)
        found = job.step("candidates", first_stage, config, collection)
        lesson, teachers = job.step("label", label, job, config, collection, found, score)
        students = {
            arm: job.step(f"fit {arm.name}", fitted, job, config, collection, found, lesson, arm) for arm in config.arms
        }
        runs = {"BM25": found, **({"teacher": teachers} if teachers else {})}
        return job.step("examine", examine, job, config, collection, runs, students)


def first_stage(config: Config, collection: data.Collection) -> Run:
    """BM25's candidates of all queries that the run needs."""
    queries = {key: text for split in config.splits for key, text in collection.asked(split).items()}
    return bm25(collection.documents, queries, config.data.candidates)


def label(
    job: Job, config: Config, collection: data.Collection, found: Run, score: teacher.Scorer | None
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
        models = teachers_trained(job, config, collection, found, triples)
        score = teacher.ensemble(models, collection, config)
    made_of = teacher.made_of(config, collection, models)
    told = [
        teacher.label_pairs(score, pairs, made_of, job.labels, config.teacher.part, job.tells(f"label {split} pairs"))
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
    job: Job, config: Config, collection: data.Collection, found: Run, triples: list[data.Triple]
) -> list[str]:
    """The folders of the cross-encoders of the settings, each trained by RankNet on the judgements, as a student is."""
    validate, folders = validation(config, collection, found), []
    for number, model in enumerate(config.teacher.models):
        folder = place_of(job, config, f"teacher {number}")
        if not folder.exists():
            settings = config.student.model_copy(update={"kind": "cat", "model": model, "layers": None})
            student = build_student(usable(job, config, settings, collection), [], config.seed + number)
            lesson = teacher.unlabelled(triples)
            tells = job.tells(f"train teacher {number + 1}")
            steps = folder.with_name(f"{folder.name}-steps")
            fit(student, lesson, collection, "ranknet", config.training, config.seed + number, steps, tells, validate)
            save_student(student, folder)
            shutil.rmtree(steps, ignore_errors=True)
        folders.append(str(folder))
    return folders


def usable(job: Job, config: Config, settings: StudentSettings, collection: data.Collection) -> StudentSettings:
    """The settings with the demo's encoder, made on the spot, in the place of its name."""
    if settings.model != DEMO:
        return settings
    folder = place_of(job, config, "encoder")
    if not folder.exists():
        texts = [*collection.documents.values(), *collection.queries.values()]
        with appearing_folder(folder) as made:
            write_tiny_encoder(made, texts, 0)
    return settings.model_copy(update={"model": str(folder)})


def place_of(job: Job, config: Config, name: str) -> Path:
    """The folder of what has that name; of what is measured only the cut-off bears on it, where it chooses weights."""
    training = settings_identity(config.training, exclude={"arms", "offsets", "offset_arms"})
    chosen_by = {"cutoff": config.evaluation.cutoff if config.data.validation_split else None}
    return job.place(name, config.data, config.teacher, config.student, training, chosen_by)


def fitted(job: Job, config: Config, collection: data.Collection, found: Run, lesson: TrainingSet, arm: Arm) -> Path:
    """Train one student; the folder that it lies in. All start from the same weights and see the same triples."""
    folder = place_of(job, config, arm.name)
    steps = folder.with_name(f"{folder.name}-steps")
    if not folder.exists():
        student = build_student(
            usable(job, config, config.student, collection), list(collection.documents.values()), config.seed
        )
        moved = with_offsets(lesson, arm.offset, config.seed)
        tells, validate = job.tells(f"fit {arm.name}"), validation(config, collection, found)
        fit(student, moved, collection, arm.loss, config.training, config.seed, steps, tells, validate)
        save_student(student, folder)
        shutil.rmtree(steps, ignore_errors=True)
    if arm == config.arms[0]:
        job.student(folder)
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
    job: Job, config: Config, collection: data.Collection, runs: Mapping[str, Run], students: Mapping[Arm, Path]
) -> int:
    """Rank the test queries with everything, measure, and report."""
    split = config.data.test_split
    queries, kept = collection.asked(split), candidate_ids(runs["BM25"])
    values = {name: evaluate.per_query(run, collection.qrels[split], config.evaluation) for name, run in runs.items()}
    dense: list[Measure] = []
    for number, (arm, folder) in enumerate(students.items()):
        job.tells("rank the test queries")(number, len(students))
        student = load_student(folder)
        run = predict.rerank(student, collection, queries, kept)
        values[arm.name] = evaluate.per_query(run, collection.qrels[split], config.evaluation)
        if config.evaluation.dense and isinstance(student, BiEncoderStudent) and not arm.offset:
            far = predict.retrieve(student, collection, queries, config.evaluation.recall)
            found = evaluate.per_query(far, collection.qrels[split], config.evaluation, recall=True)
            dense += evaluate.measures_of(arm.name, found, "dense ")
    job.tells("rank the test queries")(len(students), len(students))
    ndcg, first = evaluate.ndcg(config.evaluation), config.arms[0].name
    measures = [each for name, found in values.items() for each in evaluate.measures_of(name, found)]
    measures += [*dense, *evaluate.differences(values, first, ndcg)]
    swept = {arm: values[arm.name] for arm in students}
    return job.report(measures, evaluate.sweep_curves(swept, ndcg))
