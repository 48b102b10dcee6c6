"""On-policy distillation: given answers are made once, each arm trains the same student, all are compared."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from cyclealign.config import settings_identity
from cyclealign.distill.data.datasets import fingerprint
from cyclealign.distill.models.encoders import model_identity
from cyclealign.distill.opd import data, demo_data, demo_models, evaluate, labels, predict, student, train
from cyclealign.distill.opd.config import DEMO, VERSION, ArmName, Config
from cyclealign.distill.opd.data import Question, Questions
from cyclealign.distill.opd.evaluate import BEFORE, TEACHER, ArmValues, Vector
from cyclealign.distill.opd.predict import Generation, Row
from cyclealign.distill.opd.student import Source
from cyclealign.distill.steps import Outcome, Steps, checkpoint_dir
from cyclealign.files import appearing_folder, home
from cyclealign.policy.attestation import MAX_ROWS
from cyclealign.policy.tokenizer import UNBOUNDED_CONTEXT, context_length
from cyclealign.records import seed_from
from cyclealign.records.distillation import Curve

__all__ = ["NAME", "VERSION", "Config", "inputs", "run"]

NAME = "opd"
LOSSES = "losses.json"
LOSS_NAMES = {"opd": "divergence per token", "sft": "-log P per token"}


@dataclass(frozen=True)
class Pair:
    """Teacher and student, with what both share."""

    teacher: Source
    student: Source
    tokenizer: PreTrainedTokenizerBase
    generation: Generation
    max_prompt_tokens: int


def inputs(config: Config) -> dict[str, str]:
    """Return content hashes of the data and models that the config names; demo data follow from the seed."""
    sources = (config.data.prompts, config.evaluation.prompts)
    hashes = {source: fingerprint(source) for source in sources if source != DEMO}
    models = (config.teacher, config.student)
    return hashes | {each.model: model_identity(each.model, each.revision) for each in models if each.model != DEMO}


def run(config: Config, steps: Steps) -> Outcome:
    """Distil a language model on its own answers, and compare the student with itself before and with fine-tuning."""
    questions = steps.step("data", data.load, config)
    pair = steps.step("models", load_pair, config, steps)
    given = steps.step("label", given_answers, config, steps, pair, questions) if config.needs_given_answers else None
    folders = {
        arm: steps.step(f"fit {arm}", train_student, config, steps, pair, questions, given, arm) for arm in config.arms
    }
    values = steps.step("examine", examine, config, steps, pair, questions.evaluation, folders)
    curves = [loss_curve(arm, folder) for arm, folder in folders.items()]
    return Outcome(evaluate.measures(values, score_name(config)), curves, folders[config.arms[0]])


def load_pair(config: Config, steps: Steps) -> Pair:
    """Return the pair of the settings; the demo's is trained on first use.

    Raises:
        DistillError: a model cannot be loaded, or the two have different tokenizers.
    """
    teacher, learner = config.teacher, config.student
    sources = (
        Source("teacher.model", teacher.model, teacher.revision),
        Source("student.model", learner.model, learner.revision),
    )
    if teacher.model == DEMO:
        folders = demo_models.demo_pair(home() / "models", steps.progress("train the demo models"))
        sources = (Source("teacher.model", str(folders.teacher)), Source("student.model", str(folders.student)))
    student.require_one_tokenizer(sources[1], sources[0])
    tokenizer = student.tokenizer_of(sources[1])
    ends = student.end_tokens(sources[1], tokenizer)
    sampling = config.sampling
    generation = Generation(tokenizer, ends, sampling.max_new_tokens, sampling.temperature)
    contexts = [context_length(each.model, each.revision) or UNBOUNDED_CONTEXT for each in sources]
    return Pair(*sources, tokenizer, generation, min(contexts) - sampling.max_new_tokens)


def prompts_of(config: Config, pair: Pair, questions: Sequence[Question]) -> list[tuple[int, ...]]:
    """Return the token ids of prompts."""
    return labels.ids_of(questions, pair.tokenizer, config.data.form, pair.max_prompt_tokens)


def given_answers(config: Config, steps: Steps, pair: Pair, questions: Questions) -> list[Row]:
    """Return an answer to each prompt of the training: the data's, or the teacher's."""
    prompts = prompts_of(config, pair, questions.training)
    if config.data.answers == "given":
        return labels.given_rows(prompts, questions.training, pair.tokenizer, config.sampling.max_new_tokens)
    return labels.teacher_rows(
        steps.labels,
        student.model_of(pair.teacher),
        model_identity(pair.teacher.model, pair.teacher.revision),
        prompts,
        pair.generation,
        config.seed,
        steps.progress("label"),
    )


def train_student(
    config: Config, steps: Steps, pair: Pair, questions: Questions, given: Sequence[Row] | None, arm: ArmName
) -> Path:
    """Train the student of an arm unless its folder exists; return the folder. All arms start from the same weights."""
    folder = steps.stage_dir(
        arm, config.data, config.teacher, config.student, config.sampling, training_key(config, arm)
    )
    if not folder.exists():
        model = student.trainable(pair.student, config.training, config.seed)
        teacher = student.model_of(pair.teacher) if arm == "opd" else None
        prompts = prompts_of(config, pair, questions.training)
        task = train.Task(arm, prompts, given, teacher, pair.generation)
        checkpoints = checkpoint_dir(folder)
        losses = train.fit(model, task, config.training, config.seed, checkpoints, steps.progress(f"fit {arm}"))
        answers = predict.sample(model, prompts[:MAX_ROWS], pair.generation, config.seed)
        with appearing_folder(folder) as unfinished:
            student.save(model, pair.tokenizer, unfinished)
            student.probe(model, pair.student, [row.ids for row in answers]).save(unfinished)
            (unfinished / LOSSES).write_text(json.dumps({LOSS_NAMES[arm]: losses}) + "\n", encoding="utf-8")
        shutil.rmtree(checkpoints, ignore_errors=True)
    return folder


def training_key(config: Config, arm: ArmName) -> Mapping[str, object]:
    """Return the settings of the training that bear on an arm."""
    of_opd = {"on_policy", "beta", "loss_temperature"}
    return settings_identity(config.training, exclude=of_opd if arm == "sft" else set())


def loss_curve(arm: str, folder: Path) -> Curve:
    """Return the loss of an arm over the steps, averaged in at most 50 groups."""
    ((name, losses),) = json.loads((folder / LOSSES).read_text(encoding="utf-8")).items()
    groups = np.array_split(np.asarray(losses), min(50, len(losses)))
    ends = np.cumsum([len(group) for group in groups])
    return Curve(arm, name, "step", tuple(map(float, ends)), tuple(float(group.mean()) for group in groups))


def score_name(config: Config) -> str:
    """Return the name of the score of answers."""
    return "quality" if config.data.prompts == DEMO else "exact match"


def examine(
    config: Config, steps: Steps, pair: Pair, questions: Sequence[Question], folders: dict[ArmName, Path]
) -> dict[str, ArmValues]:
    """Return the values of teacher, student before and trained students on the prompts of the evaluation."""
    teacher, prompts = student.model_of(pair.teacher), prompts_of(config, pair, questions)
    generation = replace(pair.generation, temperature=1.0)  # the expectations of both divergences
    of_teacher = predict.sample_all(teacher, prompts, generation, seed_from(config.seed, "teacher"))

    def values_of(model: Any, progress: str) -> ArmValues:
        on_progress = steps.progress(f"examine {progress}")
        answering = replace(pair.generation, temperature=config.evaluation.temperature)
        answers = predict.sample_all(model, prompts, answering, seed_from(config.seed, "scored"), on_progress)
        scores = scores_of(config, questions, [text_of(row, pair) for row in answers])
        tokens = np.array([float(len(row.answer)) for row in answers])
        if model is teacher:
            return ArmValues(scores, None, None, tokens)
        own = predict.sample_all(model, prompts, generation, seed_from(config.seed, "own"))
        at_once = config.training.tokens_at_once
        reverse = predict.divergences(model, teacher, own, 1.0, at_once)
        forward = predict.divergences(model, teacher, of_teacher, 0.0, at_once)
        return ArmValues(scores, np.array(reverse), np.array(forward), tokens)

    loaders: dict[str, Callable[[], Any]] = {TEACHER: lambda: teacher, BEFORE: lambda: student.model_of(pair.student)}
    for arm, folder in folders.items():
        loaders[arm] = lambda folder=folder: student.load(folder, pair.student)  # type: ignore[misc]
    return {arm: values_of(load(), arm) for arm, load in loaders.items()}


def text_of(row: Row, pair: Pair) -> str:
    """Return the text of an answer."""
    return str(pair.tokenizer.decode(row.answer, skip_special_tokens=True)).strip()


def scores_of(config: Config, questions: Sequence[Question], answers: Sequence[str]) -> Vector | None:
    """Return the score of each answer; None if the data have no answers to compare with."""
    if config.evaluation.prompts == DEMO:
        pairs = zip(questions, answers, strict=True)
        return np.array([demo_data.quality(data.text_of(question), answer) for question, answer in pairs])
    given = [question.answer for question in questions if question.answer is not None]
    return evaluate.exact_matches(answers, given) if given else None
