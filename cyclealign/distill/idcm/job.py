"""IDCM as a Prefect flow: ETM on passages and documents, its window scores once, ESM on them, cascade against all."""

from pathlib import Path

from prefect import flow
from torch import Tensor

from cyclealign.config import load_settings, settings_identity
from cyclealign.distill.idcm import checkpoints, evaluate, latency, sources, train
from cyclealign.distill.idcm.config import DEMO, Config
from cyclealign.distill.idcm.data import Collection
from cyclealign.distill.idcm.esm import ESM
from cyclealign.distill.idcm.etm import ETM
from cyclealign.distill.idcm.labels import window_scores
from cyclealign.distill.idcm.predict import Cascade
from cyclealign.distill.idcm.selection import name_of, selections
from cyclealign.distill.idcm.tokenized import Pair, Texts, all_pairs, training_pairs
from cyclealign.distill.models.encoders import identity
from cyclealign.distill.run import Job, opened
from cyclealign.files import EXAMPLES, appearing_folder, hash_of_folder

# The form in the UI is filled from this instance: the demo's settings, which work at once on any machine.
FORM = load_settings(EXAMPLES / "idcm-demo.toml", Config)


@flow(name="idcm", flow_run_name="idcm-seed-{config.seed}", persist_result=False, validate_parameters=True)
def idcm(config: Config = FORM) -> int:
    """Train IDCM's two modules and compare their cascade with scoring every window.

    Args:
        config: The data, the windows, both modules and what is measured.

    Returns:
        The id of the run in the history.
    """
    with opened("idcm", config, inputs_of(config)) as job:
        if job.finished:
            return job.id
        collection = job.step("data", sources.load, config.data, config.seed)
        tiny = job.place("tiny", config.data, config.etm)
        encoder = job.step("encoder", checkpoints.encoder_folder, config.etm, collection, tiny, config.seed)
        texts = job.step("texts", timeable_texts, config, collection, encoder)
        passages = job.step("fit ETM on passages", fitted_etm, job, config, texts, encoder, "passages")
        documents = job.step("fit ETM on documents", fitted_etm, job, config, texts, passages, "documents")
        etm, _ = checkpoints.load_etm(documents)

        def label(pairs: list[Pair]) -> list[Tensor]:
            return window_scores(job.labels, hash_of_folder(documents), etm, texts, pairs, job.tells("pairs scored"))

        taught = training_pairs(collection.train, config.esm.negatives, config.seed)
        lessons = list(zip(taught, job.step("label", label, taught), strict=True))
        esms: dict[str, ESM] = {
            loss: job.step(f"fit ESM by {loss}", fitted_esm, job, config, etm, texts, lessons, loss)
            for loss in config.esm.losses
        }
        tested = all_pairs(collection.test)
        scored = evaluate.Scored.of(
            collection.test,
            tested,
            job.step("score every test window", label, tested),
            job.step("select windows", selections, esms, texts, tested, config.seed),
        )
        found = evaluate.measures(scored, etm.aggregate, config.evaluation.ks)
        first = config.esm.losses[0]
        cascade = Cascade(etm, esms[first])
        times = job.step("time", latency.of_batches, cascade, *texts.pairs(tested), config.evaluation)
        curves = job.step("time by length", latency.by_length, cascade, *texts.pairs(tested), config)
        timed = [*latency.measures(times, name_of(first)), *latency.growth(curves, name_of(first))]
        return job.report([*found, *timed], curves)


def inputs_of(config: Config) -> dict[str, str]:
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


def fitted_etm(job: Job, config: Config, texts: Texts, start: str | Path, stage: str) -> Path:
    """The folder of the ETM after a stage that begins with the module or encoder in ``start``; made at most once."""
    folder = job.place(f"etm {stage}", config.data, config.windows, config.etm)
    if not folder.exists():
        etm, tokenizer = checkpoints.etm_from(start, config.etm, config.seed)
        tell = job.tells(f"fit ETM on {stage}")
        if stage == "passages":
            train.fit_passages(etm, texts, texts.collection.passages, config.etm.passages, config.seed, tell)
        else:
            train.fit_documents(etm, texts, texts.collection.train, config.etm, config.seed, tell)
        with appearing_folder(folder) as made:
            checkpoints.save_etm(made, etm, tokenizer)
    return folder


def fitted_esm(job: Job, config: Config, etm: ETM, texts: Texts, lessons: list[tuple[Pair, Tensor]], loss: str) -> ESM:
    """The ESM that a loss trains; made at most once. All start from the same weights."""
    settings = config.esm
    own = settings_identity(settings, exclude={"losses"})
    folder = job.place(f"esm {loss}", config.data, config.windows, config.etm, own)
    if not folder.exists():
        esm = checkpoints.fresh_esm(etm, settings.variant == "cks", config.seed)
        train.fit_selection(esm, texts, lessons, settings, loss, config.seed, job.tells(f"fit ESM by {loss}"))
        with appearing_folder(folder) as made:
            checkpoints.save_esm(made, esm, settings.variant == "cks")
    if loss == settings.losses[0]:
        job.student(folder)
    return checkpoints.load_esm(folder, etm)
