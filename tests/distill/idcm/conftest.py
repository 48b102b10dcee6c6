"""A small world, a small encoder and both modules with random weights."""

from types import SimpleNamespace

import pytest

from cyclealign.distill.idcm import checkpoints, demo_data
from cyclealign.distill.idcm.config import ETMSettings, WindowSettings
from cyclealign.distill.idcm.tokenized import Texts, all_pairs


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    size = demo_data.Size(passages=12, train_queries=3, test_queries=3, candidates=3, min_passages=2, max_passages=12)
    collection = demo_data.make(size)
    settings = ETMSettings(model="demo", hidden=16, layers=1)
    folder = checkpoints.encoder_folder(settings, collection, tmp_path_factory.mktemp("idcm") / "tiny", 0)
    etm, tokenizer = checkpoints.etm_from(folder, settings, 0)
    texts = Texts(collection, tokenizer, WindowSettings())
    esm = checkpoints.fresh_esm(etm, False, 0)
    pairs = all_pairs(collection.test)
    return SimpleNamespace(
        collection=collection, etm=etm, esm=esm, texts=texts, tokenizer=tokenizer, pairs=pairs, given=texts.pairs(pairs)
    )
