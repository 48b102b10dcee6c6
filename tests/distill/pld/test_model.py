"""Teachers and students: families, local folders with processors of their own, texts, classes by name."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from cyclealign.distill.pld import data, model, predict, train
from cyclealign.distill.pld.config import Config, ModelSettings
from cyclealign.distill.pld.data import Items, Splits
from cyclealign.distill.pld.labels import LazyTeacher, label, reorder_classes
from cyclealign.errors import DistillError
from tests.support.tiny import make_model

CLASSES = ("cat", "dog", "owl")
IMAGES = np.random.default_rng(0).integers(0, 255, size=(6, 32, 32, 1), dtype=np.uint8)
FAMILIES = {
    "resnet": {"embedding_size": 4, "hidden_sizes": [4], "depths": [1], "layer_type": "basic"},
    "vit": {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "image_size": 32,
        "patch_size": 16,
    },
    "mobilenet_v1": {"depth_multiplier": 0.1, "min_depth": 4},
    "mobilenet_v2": {"depth_multiplier": 0.1, "min_depth": 4, "depth_divisible_by": 4},
}


def splits(images=IMAGES) -> Splits:
    items = Items(images, np.array([0, 1, 2, 0, 1, 2]))
    return Splits(items, items, items, CLASSES, 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_saves_and_loads(family, tmp_path):
    """Prevents a student that loads as another than was examined."""
    settings = ModelSettings(family=family, sizes=FAMILIES[family], epochs=1, batch=3)
    made = model.build(settings, CLASSES, texts=False, channels=1, seed=0)
    logits = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    before = predict.logits(made, splits().test)
    train.fit(made, splits(), logits, "pld", settings, {"tau": 2.0}, seed=0)
    after = predict.logits(made, splits().test)
    assert not np.allclose(before, after)
    made.save(tmp_path)
    assert np.allclose(predict.logits(model.load(tmp_path, texts=False), splits().test), after, atol=1e-4)
    assert set(made.model.config.id2label.values()) == set(CLASSES)


def test_the_same_seed_gives_the_same_start():
    """Prevents arms that are compared from starting apart."""
    settings = ModelSettings(sizes=FAMILIES["resnet"])
    first, second, other = (model.build(settings, CLASSES, False, 1, seed) for seed in (0, 0, 1))
    assert np.array_equal(predict.logits(first, splits().test), predict.logits(second, splits().test))
    assert not np.array_equal(predict.logits(first, splits().test), predict.logits(other, splits().test))


@pytest.fixture
def folder(tmp_path):
    """A teacher as it comes from elsewhere: three channels, its own processor, classes in an order of its own."""
    names = dict(enumerate(("owl", "cat", "dog")))
    config = ViTConfig(**FAMILIES["vit"], id2label=names, label2id={name: n for n, name in names.items()})
    torch.manual_seed(0)
    ViTForImageClassification(config).save_pretrained(tmp_path / "teacher")
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.mark.parametrize("kind", ["a processor", "raw images"])
def test_a_model_that_was_trained_on_gets_the_inputs_it_was_trained_on(folder, tmp_path, kind):
    """Prevents a saved model from being fed other inputs than those that it learnt, unseen."""
    fresh = ModelSettings(family="vit", sizes=FAMILIES["vit"], epochs=1)
    own = ModelSettings(model=str(folder), epochs=1)
    first = model.build(own if kind == "a processor" else fresh, CLASSES, False, 3, 0)
    first.save(tmp_path / "first")
    second = model.build(ModelSettings(model=str(tmp_path / "first"), epochs=1), CLASSES, False, 3, 0)
    second.save(tmp_path / "second")
    wide = IMAGES.repeat(3, axis=-1)
    wanted = first.prepare(wide)["pixel_values"]
    for found in (second, model.load(tmp_path / "second", texts=False)):
        assert torch.equal(found.prepare(wide)["pixel_values"], wanted)


def test_a_folder_that_does_not_say_how_images_are_prepared_is_refused(folder):
    """Prevents a model from elsewhere, saved without its image processor, from silently getting our own inputs."""
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(DistillError, match="has no preprocessor_config"):
        model.load(folder, texts=False)
    (folder / model.PREPARATION).write_text('{"inputs": "ink"}')
    assert model.load(folder, texts=False).prepare is model.ink_values


def test_a_model_of_timm_has_its_processor_without_a_file_of_it(tmp_path):
    """Prevents the models of timm, which save no image processor, from getting our own inputs when loaded."""
    (tmp_path / "config.json").write_text('{"architecture": "resnet18", "pretrained_cfg": {"input_size": [3, 32, 32]}}')
    assert model.preparation_of(tmp_path) == model.BY_OWN


def test_labels_are_kept_by_the_items_and_not_by_what_names_them(folder, tmp_path):
    """Prevents the labels of other images, which came under the same settings, from being taken for these."""
    kept: list[int] = []

    def labels(items: Splits, **given: object) -> np.ndarray:
        config = Config.model_validate({"data": given, "teacher": {"model": str(folder), "epochs": 0}})
        found = label(tmp_path / "labels", config, items, lambda done, of: None, lambda done, of: None)
        kept.append(len([*(tmp_path / "labels").iterdir()]))
        return found["train"]

    first = labels(splits())
    assert np.array_equal(labels(splits(), test_per_class=3), first)
    assert not np.array_equal(labels(splits(255 - IMAGES)), first)
    assert kept[0] == kept[1] < kept[2]


def test_items_are_known_by_their_content():
    """Prevents a changed image, label or text from passing for what was labelled before."""
    texts = np.array(["a", "b", "c", "d", "e", "f"], dtype=object)
    other = np.array(["a", "b", "c", "d", "e", "g"], dtype=object)
    labels = np.array([0, 1, 2, 0, 1, 1])
    found = [Items(IMAGES, labels), Items(255 - IMAGES, labels), Items(IMAGES, labels[::-1]), Items(texts, labels)]
    hashes = {data.hash_of(each) for each in (*found, Items(other, labels))}
    assert len(hashes) == 5
    assert data.hash_of(Items(IMAGES.copy(), labels.copy())) in hashes


def test_a_local_teacher_labels_in_our_order_of_the_classes(folder, tmp_path):
    """Prevents the silent failure of a teacher whose class 0 is not ours."""
    teacher = {"model": str(folder), "epochs": 0}
    config = Config(teacher=ModelSettings(**teacher))
    found = label(tmp_path / "labels", config, splits(), lambda done, of: None, lambda done, of: None)
    own = predict.logits(model.load(folder, texts=False), splits().test)
    assert np.array_equal(found["test"], own[:, [1, 2, 0]])


def test_labels_that_are_there_need_no_teacher(folder, tmp_path, monkeypatch):
    """Prevents a large teacher from being loaded for nothing when a run goes on."""
    config = Config(teacher=ModelSettings(model=str(folder), epochs=0))
    nothing = lambda done, of: None  # noqa: E731
    first = label(tmp_path / "labels", config, splits(), nothing, nothing)
    monkeypatch.setattr(LazyTeacher, "get", lambda self: pytest.fail("the teacher was loaded"))
    assert np.array_equal(label(tmp_path / "labels", config, splits(), nothing, nothing)["train"], first["train"])


@pytest.mark.parametrize("names", [("cat", "dog", "fox"), ("a", "b", "c", "d")])
def test_a_teacher_of_other_classes_is_refused(names):
    other = SimpleNamespace(model=SimpleNamespace(config=SimpleNamespace(id2label=dict(enumerate(names)))))
    with pytest.raises(DistillError, match="has other classes"):
        reorder_classes(np.zeros((2, len(names)), dtype=np.float32), other, CLASSES)


def test_texts_distil_as_images_do(tmp_path):
    """The losses know only logits: a classifier of texts, fresh and from its folder."""
    tokenizer = str(make_model(tmp_path / "tiny"))
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    settings = ModelSettings(family="bert", sizes=sizes, tokenizer=tokenizer, epochs=1, batch=3)
    texts = np.array(["bake bread", "fix a tyre", "use the pump"] * 2, dtype=object)
    made = model.build(settings, CLASSES, texts=True, channels=1, seed=0)
    train.fit(made, splits(texts), np.zeros((6, 3), dtype=np.float32), "pld", settings, {}, seed=0)
    made.save(tmp_path / "student")
    found = predict.logits(model.load(tmp_path / "student", texts=True), splits(texts).test)
    assert found.shape == (6, 3)
    assert np.allclose(found, predict.logits(made, splits(texts).test), atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "texts", "message"),
    [
        ({"model": "/nowhere/at/all"}, False, "'/nowhere/at/all' cannot be built"),
        ({"family": "no-such-family"}, False, "'no-such-family' cannot be built"),
        ({"family": "bert"}, True, "needs `tokenizer`"),
        ({"family": "timm_wrapper", "sizes": {"architecture": "resnet18"}}, False, "timm"),
    ],
)
def test_what_cannot_be_made_is_named(settings, texts, message):
    if "timm" in message:
        from importlib.util import find_spec

        if find_spec("timm"):
            pytest.skip("timm is installed")
    with pytest.raises(DistillError, match=message):
        model.build(ModelSettings(**settings), CLASSES, texts, 1, 0)


def test_a_loss_that_is_not_finite_stops_with_the_setting_to_change():
    settings = ModelSettings(sizes=FAMILIES["resnet"], epochs=1, batch=3)
    made = model.build(settings, CLASSES, False, 1, 0)
    logits = np.full((6, 3), np.nan, dtype=np.float32)
    with pytest.raises(DistillError, match=r"'kd' with .* Lower the learning rate"):
        train.fit(made, splits(), logits, "kd", settings, {}, seed=0)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_refused(wrong):
    """Prevents a student whose last step broke it from being right about everything."""
    made = model.build(ModelSettings(sizes=FAMILIES["resnet"]), CLASSES, False, 1, 0)
    torch.nn.init.constant_(made.model.classifier[-1].bias, wrong)
    with pytest.raises(DistillError, match=r"logits of 6 of 6 items are not finite\. Lower the learning rate"):
        predict.logits(made, splits().test)
