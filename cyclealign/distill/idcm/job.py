"""IDCM: ETM on passages and documents, its window scores once, ESM on them, cascade against all."""

from pathlib import Path

from torch import Tensor

from cyclealign.config import settings_identity
from cyclealign.distill.idcm import checkpoints, evaluate, latency, sources, train
from cyclealign.distill.idcm.config import DEMO, VERSION, Config
from cyclealign.distill.idcm.data import Collection
from cyclealign.distill.idcm.etm import ETM
from cyclealign.distill.idcm.labels import window_scores
from cyclealign.distill.idcm.predict import Cascade
from cyclealign.distill.idcm.selection import name_of, selections
from cyclealign.distill.idcm.tokenized import Pair, Texts, all_pairs, training_pairs
from cyclealign.distill.models.encoders import identity
from cyclealign.distill.steps import Outcome, Steps
from cyclealign.files import appearing_folder, hash_of_folder

__all__ = ["NAME", "VERSION", "Config", "inputs", "run"]

NAME = "idcm"


def run(config: Config, steps: Steps) -> Outcome:
    """Train IDCM's two modules and compare their cascade with scoring every window."""
    collection = steps.step("data", sources.load, config.data, config.seed)
    tiny = steps.stage_dir("tiny", config.data, config.etm)
    encoder = steps.step("encoder", checkpoints.encoder_folder, config.etm, collection, tiny, config.seed)
    texts = steps.step("texts", timeable_texts, config, collection, encoder)
    passages = steps.step("fit ETM on passages", fitted_etm, steps, config, texts, encoder, "passages")
    documents = steps.step("fit ETM on documents", fitted_etm, steps, config, texts, passages, "documents")
    etm, _ = checkpoints.load_etm(documents)

    def label(pairs: list[Pair]) -> list[Tensor]:
        return window_scores(steps.labels, hash_of_folder(documents), etm, texts, pairs, steps.progress("pairs scored"))

    taught = training_pairs(collection.train, config.esm.negatives, config.seed)
    lessons = list(zip(taught, steps.step("label", label, taught), strict=True))
    folders: dict[str, Path] = {
        loss: steps.step(f"fit ESM by {loss}", fitted_esm, steps, config, etm, texts, lessons, loss)
        for loss in config.esm.losses
    }
    esms = {loss: checkpoints.load_esm(folder, etm) for loss, folder in folders.items()}
    tested = all_pairs(collection.test)
    scored = evaluate.Scored.of(
        collection.test,
        tested,
        steps.step("score every test window", label, tested),
        steps.step("select windows", selections, esms, texts, tested, config.seed),
    )
    found = evaluate.measures(scored, etm.aggregate, config.evaluation.ks)
    first = config.esm.losses[0]
    cascade = Cascade(etm, esms[first])
    times = steps.step("time", latency.of_batches, cascade, *texts.pairs(tested), config.evaluation)
    curves = steps.step("time by length", latency.by_length, cascade, *texts.pairs(tested), config)
    timed = [*latency.measures(times, name_of(first)), *latency.growth(curves, name_of(first))]
    return Outcome([*found, *timed], curves, folders[first])


def inputs(config: Config) -> dict[str, str]:
    """What data and encoder that the config names are known by; what is missing is found by its reader."""
    data = sources.hashes(config.data)
    if config.etm.model == DEMO:
        return data
    return {**data, "etm": identity(config.etm.model, config.etm.revision)}


def timeable_texts(config: Config, collection: Collection, encoder: str | Path) -> Texts:
    """The collection by the encoder's tokenizer.

    Raises:
        DistillError: the test documents are too short for what is to be timed, which is said before any training.
    """
    _, tokenizer = checkpoints.etm_from(encoder, config.etm, config.seed)
    texts = Texts(collection, tokenizer, config.windows)
    _, documents = texts.pairs(all_pairs(collection.test))
    latency.long_pairs(documents, config.evaluation.min_windows, 1)
    latency.lengths_within(documents, config.evaluation.lengths)
    return texts


def fitted_etm(steps: Steps, config: Config, texts: Texts, start: str | Path, stage: str) -> Path:
    """The folder of the ETM after a stage that begins with the module or encoder in ``start``; made at most once."""
    folder = steps.stage_dir(f"etm {stage}", config.data, config.windows, config.etm)
    if not folder.exists():
        etm, tokenizer = checkpoints.etm_from(start, config.etm, config.seed)
        tell = steps.progress(f"fit ETM on {stage}")
        if stage == "passages":
            train.fit_passages(etm, texts, texts.collection.passages, config.etm.passages, config.seed, tell)
        else:
            train.fit_documents(etm, texts, texts.collection.train, config.etm, config.seed, tell)
        with appearing_folder(folder) as made:
            checkpoints.save_etm(made, etm, tokenizer)
    return folder


def fitted_esm(
    steps: Steps, config: Config, etm: ETM, texts: Texts, lessons: list[tuple[Pair, Tensor]], loss: str
) -> Path:
    """The folder of the ESM that a loss trains; made at most once. All start from the same weights."""
    settings = config.esm
    own = settings_identity(settings, exclude={"losses"})
    folder = steps.stage_dir(f"esm {loss}", config.data, config.windows, config.etm, own)
    if not folder.exists():
        esm = checkpoints.fresh_esm(etm, settings.variant == "cks", config.seed)
        train.fit_selection(esm, texts, lessons, settings, loss, config.seed, steps.progress(f"fit ESM by {loss}"))
        with appearing_folder(folder) as made:
            checkpoints.save_esm(made, esm, settings.variant == "cks")
    return folder
