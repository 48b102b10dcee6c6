"""Small demo data, a small encoder, and both modules with random weights."""

from types import SimpleNamespace

import pytest

from cyclealign.distill.idcm import checkpoints
from cyclealign.distill.idcm.config import DemoSettings, ETMSettings, WindowSettings
from cyclealign.distill.idcm.demo_data import demo_collection
from cyclealign.distill.idcm.tokenized import TokenizedTexts, all_pairs


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    sizes = DemoSettings(passages=12, train_queries=3, test_queries=3, candidates=3, min_passages=2, max_passages=12)
    collection = demo_collection(sizes, 0)
    settings = ETMSettings(model="demo", hidden=16, layers=1)
    folder = checkpoints.encoder_source(settings, collection, tmp_path_factory.mktemp("idcm") / "encoder", 0)
    etm, tokenizer = checkpoints.etm_from(folder, settings, 0)
    texts = TokenizedTexts(collection, tokenizer, WindowSettings())
    esm = checkpoints.new_esm(etm, False, 0)
    pairs = all_pairs(collection.test)
    return SimpleNamespace(
        collection=collection,
        etm=etm,
        esm=esm,
        texts=texts,
        tokenizer=tokenizer,
        pairs=pairs,
        inputs=texts.pairs(pairs),
    )
