"""LEAF: label once, fit the student and its control, examine every arm with one evaluator."""

import shutil
from pathlib import Path
from typing import Any

from cyclealign.distill.leaf import data, demo_models, evaluate, student
from cyclealign.distill.leaf.config import VERSION, Config
from cyclealign.distill.leaf.demo_data import demo_material
from cyclealign.distill.leaf.labels import Labels, Teacher, label
from cyclealign.distill.leaf.predict import encode
from cyclealign.distill.leaf.rotations import is_unit, principal_axes, random_rotation
from cyclealign.distill.leaf.teacher import FileTeacher, ModelTeacher, load_model
from cyclealign.distill.models.encoders import identity
from cyclealign.distill.steps import Outcome, Steps, checkpoint_dir
from cyclealign.files import appearing_folder, home

__all__ = ["NAME", "VERSION", "Config", "inputs", "run"]

NAME = "leaf"


def run(config: Config, steps: Steps) -> Outcome:
    """Distil a text-embedding model by LEAF, and examine it with and without the teacher on the documents' side."""
    material = steps.step("read", read, config)
    teacher = steps.step("teacher", open_teacher, steps, config)
    given = steps.step(
        "label", label, teacher, material, steps.labels, config.teacher.texts_per_part, steps.progress("label")
    )
    axes = principal_axes(given.training) if config.teacher.axes == "principal" else None
    labels = given if axes is None else given.turned(axes)
    model = steps.step("fit", fitted, steps, config, "student", material, labels, teacher)
    arms = steps.step("predict", predicted, config, model, material, labels)
    if isinstance(teacher, ModelTeacher):
        kept = steps.step("join", joined, steps, config, model, teacher, axes)
    else:
        kept = place_of(steps, config, "student")
    if config.evaluation.rotated_control:
        turned = labels.turned(random_rotation(labels.queries.shape[1], config.seed + 1))
        other = steps.step("fit the control", fitted, steps, config, "rotated_student", material, turned, teacher)
        arms += steps.step("predict the control", predicted_rotated, config, other, material, turned)
    controls = steps.step("controls", untrained, config, arms, material, labels, teacher)
    found = steps.step("examine", evaluate.search, arms, controls, material.task.relevant, config.evaluation)
    measures = evaluate.retrieval_measures(found) + evaluate.comparisons(found) + evaluate.closeness(arms)
    return Outcome(measures, evaluate.curves(found, labels.queries.shape[1]), kept)


def inputs(config: Config) -> dict[str, str]:
    """What data and models that the config names are known by; the demo's are known by its seed."""
    models = {config.student.backbone: None, config.teacher.model: config.teacher.revision}
    named = {each: identity(each, revision) for each, revision in models.items() if each and each != "demo"}
    return named if config.data.task == "demo" else named | data.hashes(config)


def read(config: Config) -> data.Corpus:
    """The texts that the settings name, or the demo's."""
    return demo_material(config.seed) if config.data.task == "demo" else data.read(config.data)


def open_teacher(steps: Steps, config: Config) -> Teacher:
    """The teacher that the settings name; the demo's is trained on first use."""
    if config.teacher.vectors:
        return FileTeacher(config.teacher.vectors, config.teacher.query_prompt)
    model = config.teacher.model
    if model == "demo":
        model = str(demo_models.demo_teacher(home() / "models", steps.progress("train the demo's teacher")))
    return ModelTeacher(model, config.teacher)


def new_student(config: Config, labels: Labels, teacher: Teacher) -> Any:
    """An untrained student of the teacher's size."""
    backbone = config.student.backbone
    if backbone == "demo":
        backbone = str(demo_models.demo_backbone(home() / "models", config.seed))
    unit = is_unit(labels.task_documents)
    dims = labels.queries.shape[1]
    return student.new_student(backbone, config.student, dims, unit, teacher.query_prompt, config.seed)


def place_of(steps: Steps, config: Config, name: str) -> Path:
    """The folder of the student of that name; what is measured does not bear on it."""
    return steps.stage_dir(name, config.data, config.teacher, config.student, config.training)


def fitted(steps: Steps, config: Config, name: str, material: data.Corpus, labels: Labels, teacher: Teacher) -> Any:
    """A student trained on the labels, and loaded as its users load it."""
    folder = place_of(steps, config, name)
    if not folder.exists():
        model = new_student(config, labels, teacher)
        texts = student.training_texts(model, material.queries, material.documents)
        if config.student.dense_start == "least_squares":
            student.start_dense(model, texts, labels.training, config.student.start_texts, config.seed)
        checkpoints = checkpoint_dir(folder)
        tell = steps.progress(f"fit {name}")
        student.fit(model, texts, labels.training, config.training, config.seed, checkpoints, tell)
        with appearing_folder(folder) as made:
            student.save(model, made)
        shutil.rmtree(checkpoints, ignore_errors=True)
    return load_model(str(folder))


def joined(steps: Steps, config: Config, model: Any, teacher: ModelTeacher, axes: Any) -> Path:
    """The folder of the asymmetric model: queries by the student, documents by the teacher."""
    folder = place_of(steps, config, "asymmetric")
    if not folder.exists():
        with appearing_folder(folder) as made:
            student.save(student.asymmetric(model, teacher.model, axes), made)
    load_model(str(folder))  # what cannot be loaded again is no result
    return folder


def predicted(config: Config, model: Any, material: data.Corpus, labels: Labels) -> list[evaluate.Arm]:
    """Teacher on both sides, student on both sides, student queries on teacher documents."""
    queries_QD = encode(model, material.task.queries, "query", config.teacher.batch)
    documents_ND = encode(model, material.task.documents, "document", config.teacher.batch)
    return [
        evaluate.Arm("teacher", labels.task_queries, labels.task_documents),
        evaluate.Arm("symmetric", queries_QD, documents_ND),
        evaluate.Arm("asymmetric", queries_QD, labels.task_documents),
    ]


def predicted_rotated(config: Config, model: Any, material: data.Corpus, turned: Labels) -> list[evaluate.Arm]:
    """The rotated teacher, and its student's queries on its documents."""
    queries_QD = encode(model, material.task.queries, "query", config.teacher.batch)
    return [
        evaluate.Arm("rotated_teacher", turned.task_queries, turned.task_documents),
        evaluate.Arm("rotated_asymmetric", queries_QD, turned.task_documents),
    ]


def untrained(
    config: Config, arms: list[evaluate.Arm], material: data.Corpus, labels: Labels, teacher: Teacher
) -> list[evaluate.Arm]:
    """Queries that share nothing with the teacher's space: turned at random, and those of an untrained student."""
    asymmetric = next(arm for arm in arms if arm.name == "asymmetric")
    queries_QD = encode(new_student(config, labels, teacher), material.task.queries, "query", config.teacher.batch)
    return [
        evaluate.misaligned(asymmetric, config.seed),
        evaluate.Arm("untrained", queries_QD, labels.task_documents),
    ]
