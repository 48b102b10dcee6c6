"""IDCM: train ETM on passages and documents, cache its window scores, train ESM on them, evaluate the cascade."""

from pathlib import Path

from torch import Tensor

from cyclealign.config import settings_identity
from cyclealign.distill.idcm import checkpoints, evaluate, latency, sources, train
from cyclealign.distill.idcm.config import DEMO, VERSION, Config
from cyclealign.distill.idcm.data import Collection
from cyclealign.distill.idcm.etm import ETM
from cyclealign.distill.idcm.labels import window_scores
from cyclealign.distill.idcm.predict import Cascade
from cyclealign.distill.idcm.selection import selection_name, selections
from cyclealign.distill.idcm.tokenized import Pair, TokenizedTexts, all_pairs, training_pairs
from cyclealign.distill.models.encoders import model_identity
from cyclealign.distill.settings import bearing
from cyclealign.distill.steps import Outcome, Steps
from cyclealign.distill.training import Loop, trained_folder
from cyclealign.files import hash_of_folder

__all__ = ["NAME", "VERSION", "Config", "inputs", "run"]

NAME = "idcm"


def run(config: Config, steps: Steps) -> Outcome:
    """Train IDCM's two modules and compare their cascade with scoring every window."""
    collection = steps.step("data", sources.read_collection, config.data, config.seed)
    demo_encoder = steps.stage_dir("tiny", config.data, config.etm)
    encoder = steps.step("encoder", checkpoints.encoder_source, config.etm, collection, demo_encoder, config.seed)
    texts = steps.step("texts", tokenize, config, collection, encoder)
    passages = steps.step("fit ETM on passages", train_etm, steps, config, texts, encoder, "passages")
    documents = steps.step("fit ETM on documents", train_etm, steps, config, texts, passages, "documents")
    etm, _ = checkpoints.load_etm(documents)

    def label(pairs: list[Pair]) -> list[Tensor]:
        return window_scores(steps.labels, hash_of_folder(documents), etm, texts, pairs, steps.progress("pairs scored"))

    train_pairs = training_pairs(collection.train, config.esm.negatives, config.seed)
    labels = list(zip(train_pairs, steps.step("label", label, train_pairs), strict=True))
    folders: dict[str, Path] = {
        loss: steps.step(f"fit ESM by {loss}", train_esm, steps, config, etm, texts, labels, loss)
        for loss in config.esm.losses
    }
    esms = {loss: checkpoints.load_esm(folder, etm) for loss, folder in folders.items()}
    test_pairs = all_pairs(collection.test)
    scores = evaluate.WindowScores.of(
        collection.test,
        test_pairs,
        steps.step("score every test window", label, test_pairs),
        steps.step("select windows", selections, esms, texts, test_pairs, config.seed),
    )
    measures = evaluate.measures(scores, etm.aggregate, config.evaluation.ks)
    first = config.esm.losses[0]
    cascade = Cascade(etm, esms[first])
    timings = steps.step("time", latency.by_batch, cascade, *texts.pairs(test_pairs), config.evaluation)
    curves = steps.step("time by length", latency.by_length, cascade, *texts.pairs(test_pairs), config)
    arm = selection_name(first)
    return Outcome([*measures, *latency.measures(timings, arm), *latency.growth(curves, arm)], curves, folders[first])


def inputs(config: Config) -> dict[str, str]:
    """Return the hashes of the data and encoder that the config names; reading reports those that are missing."""
    data = sources.input_hashes(config.data)
    if config.etm.model == DEMO:
        return data
    return {**data, "etm": model_identity(config.etm.model, config.etm.revision)}


def tokenize(config: Config, collection: Collection, encoder: str | Path) -> TokenizedTexts:
    """Return the collection's texts as tokens of the encoder.

    Raises:
        DistillError: the test documents are too short for the speed measurement, which is checked before training.
    """
    _, tokenizer = checkpoints.etm_from(encoder, config.etm, config.seed)
    texts = TokenizedTexts(collection, tokenizer, config.windows)
    _, documents = texts.pairs(all_pairs(collection.test))
    latency.long_documents(documents, config.evaluation.min_windows, 1)
    latency.lengths_within(documents, config.evaluation.lengths)
    return texts


def train_etm(steps: Steps, config: Config, texts: TokenizedTexts, start: str | Path, stage: str) -> Path:
    """Run stage 1 (`passages`) or 2 (`documents`) unless its folder exists; return the folder.

    Args:
        start: the encoder, or the folder of the ETM of the stage before.
    """

    def make(folder: Path, loop: Loop) -> None:
        etm, tokenizer = checkpoints.etm_from(start, config.etm, config.seed)
        on_progress = steps.progress(f"fit ETM on {stage}")
        if stage == "passages":
            triples, settings = texts.collection.passages, config.etm.passages
            train.fit_passages(etm, texts, triples, settings, config.seed, on_progress, loop)
        else:
            train.fit_documents(etm, texts, texts.collection.train, config.etm, config.seed, on_progress, loop)
        checkpoints.save_etm(folder, etm, tokenizer)

    folder = steps.stage_dir(f"etm {stage}", config.data, config.windows, config.etm, *bearing(config.trainer))
    return trained_folder(folder, config.trainer, make)


def train_esm(
    steps: Steps, config: Config, etm: ETM, texts: TokenizedTexts, labels: list[tuple[Pair, Tensor]], loss: str
) -> Path:
    """Train an ESM with a loss unless its folder exists; return the folder. All losses start from the same weights."""
    settings = config.esm
    small = settings.variant == "cks"

    def make(folder: Path, loop: Loop) -> None:
        esm = checkpoints.new_esm(etm, small, config.seed)
        on_progress = steps.progress(f"fit ESM by {loss}")
        train.fit_selection(esm, texts, labels, settings, loss, config.seed, on_progress, loop)
        checkpoints.save_esm(folder, esm, small)

    own_settings = settings_identity(settings, exclude={"losses"})
    folder = steps.stage_dir(
        f"esm {loss}", config.data, config.windows, config.etm, own_settings, *bearing(config.trainer)
    )
    return trained_folder(folder, config.trainer, make)
