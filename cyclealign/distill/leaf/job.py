"""LEAF: label the texts once, train the student and its control, and evaluate every arm on one retrieval task."""

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from cyclealign.distill.leaf import data, demo_models, evaluate, student, train
from cyclealign.distill.leaf.config import VERSION, Config
from cyclealign.distill.leaf.demo_data import demo_corpus
from cyclealign.distill.leaf.labels import Labels, Teacher, label
from cyclealign.distill.leaf.predict import encode
from cyclealign.distill.leaf.rotations import is_unit, principal_axes, random_rotation
from cyclealign.distill.leaf.teacher_models import FileTeacher, ModelTeacher, load_model
from cyclealign.distill.models.encoders import model_identity
from cyclealign.distill.steps import Outcome, Steps, checkpoint_dir
from cyclealign.files import appearing_folder, home

__all__ = ["NAME", "VERSION", "Config", "inputs", "run"]

NAME = "leaf"


def run(config: Config, steps: Steps) -> Outcome:
    """Distil a text-embedding model by LEAF, and evaluate the student with and without the teacher's documents."""
    corpus = steps.step("read", read_corpus, config)
    teacher = steps.step("teacher", load_teacher, steps, config)
    own_labels = steps.step(
        "label", label, teacher, corpus, steps.labels, config.teacher.texts_per_part, steps.progress("label")
    )
    axes = principal_axes(own_labels.training) if config.teacher.axes == "principal" else None
    labels = own_labels if axes is None else own_labels.rotated(axes)
    model = steps.step("fit", train_student, steps, config, "student", corpus, labels, teacher)
    arms = steps.step("predict", encode_arms, config, model, corpus, labels)
    if isinstance(teacher, ModelTeacher):
        result = steps.step("join", write_asymmetric, steps, config, model, teacher, axes)
    else:
        result = student_dir(steps, config, "student")
    if config.evaluation.rotated_control:
        rotated = labels.rotated(random_rotation(labels.queries.shape[1], config.seed + 1))
        control = steps.step(
            "fit the control", train_student, steps, config, "rotated_student", corpus, rotated, teacher
        )
        arms += steps.step("predict the control", encode_rotated_arms, config, control, corpus, rotated)
    controls = steps.step("controls", encode_controls, config, arms, corpus, labels, teacher)
    results = steps.step("examine", evaluate.search, arms, controls, corpus.task.relevant, config.evaluation)
    measures = evaluate.retrieval_measures(results) + evaluate.comparisons(results) + evaluate.closeness(arms)
    return Outcome(measures, evaluate.curves(results, labels.queries.shape[1]), result)


def inputs(config: Config) -> dict[str, str]:
    """Return the hashes of the data and models that the config names; demo data follow from the seed."""
    revisions = {config.student.backbone: None, config.teacher.model: config.teacher.revision}
    models = {name: model_identity(name, revision) for name, revision in revisions.items() if name not in ("", "demo")}
    return models if config.data.task == "demo" else models | data.input_hashes(config)


def read_corpus(config: Config) -> data.Corpus:
    """Read the texts of the settings, or generate those of the demo."""
    return demo_corpus(config.seed) if config.data.task == "demo" else data.read_corpus(config.data)


def load_teacher(steps: Steps, config: Config) -> Teacher:
    """Load the teacher of the settings; the demo's is trained on first use."""
    if config.teacher.vectors:
        return FileTeacher(config.teacher.vectors, config.teacher.query_prompt)
    model = config.teacher.model
    if model == "demo":
        model = str(demo_models.demo_teacher(home() / "models", steps.progress("train the demo teacher")))
    return ModelTeacher(model, config.teacher)


def new_student(config: Config, labels: Labels, teacher: Teacher) -> SentenceTransformer:
    """Return an untrained student whose vectors have the teacher's size."""
    backbone = config.student.backbone
    if backbone == "demo":
        backbone = str(demo_models.demo_backbone(home() / "models", config.seed))
    unit = is_unit(labels.task_documents)
    dims = labels.queries.shape[1]
    return student.new_student(backbone, config.student, dims, unit, teacher.query_prompt, config.seed)


def student_dir(steps: Steps, config: Config, name: str) -> Path:
    """Return the folder of a student; settings of the evaluation do not change it."""
    return steps.stage_dir(name, config.data, config.teacher, config.student, config.training)


def train_student(
    steps: Steps, config: Config, name: str, corpus: data.Corpus, labels: Labels, teacher: Teacher
) -> SentenceTransformer:
    """Train a student on the labels unless its folder exists; load it from there."""
    folder = student_dir(steps, config, name)
    if not folder.exists():
        model = new_student(config, labels, teacher)
        texts = student.training_texts(model, corpus.queries, corpus.documents)
        if config.student.dense_start == "least_squares":
            student.initialize_dense(model, texts, labels.training, config.student.start_texts, config.seed)
        checkpoints = checkpoint_dir(folder)
        on_progress = steps.progress(f"fit {name}")
        train.fit(model, texts, labels.training, config.training, config.seed, checkpoints, on_progress)
        with appearing_folder(folder) as new_folder:
            student.save(model, new_folder)
        shutil.rmtree(checkpoints, ignore_errors=True)
    return load_model(str(folder))


def write_asymmetric(
    steps: Steps, config: Config, model: SentenceTransformer, teacher: ModelTeacher, axes: NDArray[np.float64] | None
) -> Path:
    """Write the asymmetric model (queries by the student, documents by the teacher); return its folder."""
    folder = student_dir(steps, config, "asymmetric")
    if not folder.exists():
        with appearing_folder(folder) as new_folder:
            student.save(student.asymmetric(model, teacher.model, axes), new_folder)
    load_model(str(folder))  # fail here if users could not load it
    return folder


def encode_arms(config: Config, model: SentenceTransformer, corpus: data.Corpus, labels: Labels) -> list[evaluate.Arm]:
    """Return the arms teacher, student, and student queries on teacher documents."""
    queries_QD = encode(model, corpus.task.queries, "query", config.teacher.batch)
    documents_ND = encode(model, corpus.task.documents, "document", config.teacher.batch)
    return [
        evaluate.Arm("teacher", labels.task_queries, labels.task_documents),
        evaluate.Arm("symmetric", queries_QD, documents_ND),
        evaluate.Arm("asymmetric", queries_QD, labels.task_documents),
    ]


def encode_rotated_arms(
    config: Config, model: SentenceTransformer, corpus: data.Corpus, rotated: Labels
) -> list[evaluate.Arm]:
    """Return the arms rotated teacher, and its student's queries on its documents."""
    queries_QD = encode(model, corpus.task.queries, "query", config.teacher.batch)
    return [
        evaluate.Arm("rotated_teacher", rotated.task_queries, rotated.task_documents),
        evaluate.Arm("rotated_asymmetric", queries_QD, rotated.task_documents),
    ]


def encode_controls(
    config: Config, arms: list[evaluate.Arm], corpus: data.Corpus, labels: Labels, teacher: Teacher
) -> list[evaluate.Arm]:
    """Return queries outside the teacher's space: rotated at random, and of an untrained student."""
    asymmetric = next(arm for arm in arms if arm.name == "asymmetric")
    queries_QD = encode(new_student(config, labels, teacher), corpus.task.queries, "query", config.teacher.batch)
    return [
        evaluate.misaligned(asymmetric, config.seed),
        evaluate.Arm("untrained", queries_QD, labels.task_documents),
    ]
