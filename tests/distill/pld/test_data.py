"""Reading and splitting: no item in two splits, classes by name, clear refusals."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from PIL import Image

from cyclealign.distill.pld import data, demo_data
from cyclealign.distill.pld.config import DataSettings
from cyclealign.errors import DistillError
from tests.support.paths import SHARED

OMNIGLOT = SHARED / "data" / "omniglot_small"


def picture(value: int, size=(40, 30)) -> bytes:
    file = io.BytesIO()
    Image.new("L", size, value).save(file, format="PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two classes of four images each, every image of one grey of its own."""
    for number in range(8):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(10 + number))
    return tmp_path / "images"


def settings(*paths: object, **more: object) -> DataSettings:
    given = {"source": "images", "image_size": 8, "valid_per_class": 1, "test_per_class": 1, **more}
    return DataSettings(paths=tuple(map(str, paths)), **given)


def greys(items: data.Items) -> set[int]:
    return set(items.inputs[:, 4, 4, 0].tolist())


def test_splits_share_nothing_and_labels_stay_with_their_images(folder):
    """Prevents a test item from being trained on, and labels from slipping."""
    splits = data.load(settings(folder), seed=0)
    found = [greys(each) for each in (splits.train, splits.valid, splits.test)]
    assert [len(each) for each in found] == [4, 2, 2]
    assert set().union(*found) == set(range(10, 18))
    assert splits.classes == ("a", "b")
    for items in splits.named().values():
        assert [(grey - 10) % 2 for grey in items.inputs[:, 4, 4, 0]] == items.labels.tolist()


def test_a_zip_file_reads_as_its_folder_and_doubles_count_once(folder, tmp_path):
    """Prevents a class that two archives hold from becoming two, or its images from being in two splits."""
    for name in ("one.zip", "two.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for path in folder.rglob("*.png"):
                archive.write(path, Path(name.removesuffix(".zip")) / path.relative_to(folder))
    plain = data.load(settings(folder), seed=0)
    packed = data.load(settings(tmp_path / "one.zip", tmp_path / "two.zip"), seed=0)
    assert packed.classes == plain.classes
    assert np.array_equal(packed.train.inputs, plain.train.inputs)


def test_other_images_of_the_same_name_are_other_items(folder, tmp_path):
    """Prevents folders that number their images alike from losing all but the first one's."""
    for path in sorted(folder.rglob("*.png")):
        other = tmp_path / "more" / path.relative_to(folder)
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_bytes(picture(100 + int(path.stem)))
    (folder / "a" / "renamed.png").write_bytes(picture(10))
    splits = data.load(settings(folder, tmp_path / "more"), seed=0)
    found = [grey for each in splits.named().values() for grey in each.inputs[:, 4, 4, 0].tolist()]
    assert sorted(found) == [*range(10, 18), *range(100, 108)]


def test_arrays_and_inverted_ink(tmp_path):
    x = np.stack([np.full((9, 9), grey, dtype=np.uint8) for grey in range(8)])
    np.savez(tmp_path / "some.npz", x=x, y=np.arange(8) % 2)
    splits = data.load(settings(tmp_path / "some.npz", inverted=True), seed=3)
    assert set().union(*(greys(each) for each in splits.named().values())) == set(range(248, 256))


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.linspace(0, 1, 8 * 81, dtype=np.float32).reshape(8, 9, 9), np.arange(8) % 2),
        (np.full((8, 9, 9), 300), np.arange(8) % 2),
        (np.zeros((8, 3, 9, 9), dtype=np.uint8), np.arange(8) % 2),
        (np.zeros((8, 81), dtype=np.uint8), np.arange(8) % 2),
        (np.zeros((8, 9, 9), dtype=np.uint8), np.arange(7) % 2),
        (np.zeros((8, 9, 9), dtype=np.uint8), np.eye(8, dtype=np.int64)),
        (np.zeros((8, 9, 9), dtype=np.uint8), np.array([0, np.nan] * 4)),
    ],
    ids=["fractions", "above a byte", "channels first", "flat", "other lengths", "one-hot", "no class"],
)
def test_arrays_that_are_no_images_are_refused(tmp_path, x, y):
    """Prevents pictures that are all black, or turned, from being learnt from."""
    np.savez(tmp_path / "some.npz", x=x, y=y)
    with pytest.raises(DistillError, match=r"some\.npz: x has dtype .* Expected: x of dtype uint8"):
        data.load(settings(tmp_path / "some.npz"), 0)


def test_arrays_in_colour_and_of_wide_whole_numbers(tmp_path):
    """Prevents arrays that are images from being refused, or from losing their channels."""
    x = np.arange(8).repeat(9 * 9 * 3).reshape(8, 9, 9, 3)
    np.savez(tmp_path / "some.npz", x=x, y=np.array(["a", "b"] * 4))
    splits = data.load(settings(tmp_path / "some.npz", colour=True), 0)
    assert splits.train.inputs.shape[1:] == (8, 8, 3)
    assert splits.classes == ("a", "b")


def test_one_class_or_none_is_refused(tmp_path):
    """Prevents images without folders of their classes from becoming one class that everything is right about."""
    (tmp_path / "flat").mkdir()
    for number in range(6):
        (tmp_path / "flat" / f"{number}.png").write_bytes(picture(number))
    with pytest.raises(DistillError, match=r"0\.png is not in the folder of a class"):
        data.load(settings(tmp_path / "flat"), 0)
    np.savez(tmp_path / "one.npz", x=np.zeros((8, 9, 9), dtype=np.uint8), y=np.full(8, 7))
    with pytest.raises(DistillError, match=r"one\.npz: expected at least 2 classes, found '7' only"):
        data.load(settings(tmp_path / "one.npz"), 0)


def test_views_keep_the_first_and_move_the_others(folder):
    images, _ = demo_data.drawings(3, 2, seed=0)
    moved = data.add_views(images, 3, seed=0)
    assert moved.shape == (18, 28, 28, 1)
    assert np.array_equal(moved[:6], images)
    assert not np.array_equal(moved[6:12], images)
    assert not np.array_equal(moved[6:12], moved[12:])
    assert np.array_equal(moved, data.add_views(images, 3, seed=0))
    alike = np.corrcoef(moved[6].ravel().astype(float), images[0].ravel().astype(float))[0, 1]
    other = np.corrcoef(moved[6].ravel().astype(float), images[2].ravel().astype(float))[0, 1]
    assert alike > other


def test_views_double_the_labels(folder):
    splits = data.load(settings(folder, views=3), seed=0)
    assert splits.train.labels.tolist() == splits.train.labels[:4].tolist() * 3
    assert len(splits.train.inputs) == 12


def test_texts(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"text {n}", "label": "xy"[n % 2]}) for n in range(6)))
    splits = data.load(settings(path, source="texts"), seed=0)
    assert len(splits.train.inputs) == len(splits.test.inputs) == 2
    assert splits.classes == ("x", "y")


def test_a_text_may_hold_any_sign(tmp_path):
    """Prevents a line separator within a text from cutting its line in two."""
    path = tmp_path / "texts.jsonl"
    rows = [{"text": f"text\u2028{n}", "label": n % 2} for n in range(6)]
    path.write_text("\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n", encoding="utf-8")
    splits = data.load(settings(path, source="texts"), seed=0)
    found = {text for items in splits.named().values() for text in items.inputs}
    assert found == {row["text"] for row in rows}
    assert splits.classes == ("0", "1")


@pytest.mark.parametrize("row", [{"text": None, "label": "a"}, {"text": "a", "label": None}, {"text": 1, "label": "a"}])
def test_what_is_no_text_or_no_class_is_refused(tmp_path, row):
    """Prevents a missing text or label from being learnt as the word None."""
    (tmp_path / "some.jsonl").write_text(json.dumps({"text": "a", "label": "b"}) + "\n" + json.dumps(row))
    with pytest.raises(DistillError, match=r"some\.jsonl, line 2: expected"):
        data.load(settings(tmp_path / "some.jsonl", source="texts"), 0)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DistillError, match=r"No texts in .*empty\.jsonl"):
        data.load(settings(tmp_path / "empty.jsonl", source="texts"), 0)


def hub(path: Path, **more: object) -> DataSettings:
    return settings(path, source="hub_texts", input_column="text", **more)


def test_a_data_set_names_its_classes_and_refuses_rows_without_one(tmp_path):
    """Prevents the number -1, which stands for no label, from being read as the last class."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    labels = [0, 1, 0, 1, 0, 1]
    rows = Dataset.from_dict({"text": [f"text {n}" for n in range(6)], "label": labels}, features=features)
    rows.to_parquet(tmp_path / "good.parquet")
    assert data.load(hub(tmp_path / "good.parquet"), 0).classes == ("no", "yes")
    rows = Dataset.from_dict({"text": ["a"] * 6, "label": [*labels[:5], -1]}, features=features)
    rows.to_parquet(tmp_path / "bad.parquet")
    with pytest.raises(DistillError, match=r"bad\.parquet, row 6: there is no class -1"):
        data.load(hub(tmp_path / "bad.parquet"), 0)
    with pytest.raises(DistillError, match="no column answer"):
        data.load(hub(tmp_path / "good.parquet", label_column="answer"), 0)
    with pytest.raises(DistillError, match="row 1: expected an image, found str"):
        data.load(settings(tmp_path / "good.parquet", source="hub_images", input_column="text"), 0)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"test_per_class": 4}, r"class 'a' has 4 items; the settings need 1 \+ 1 \+ 4"),
        ({"train_per_class": 3}, r"class 'a' has 4 items; the settings need 3 \+ 1 \+ 1 per class"),
    ],
)
def test_too_few_items_are_told_by_class(folder, more, message):
    with pytest.raises(DistillError, match=message):
        data.load(settings(folder, **more), seed=0)


def test_what_cannot_be_read_is_named(tmp_path):
    broken = tmp_path / "images" / "a" / "broken.png"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no image")
    (tmp_path / "bad.jsonl").write_text('{"text": "no label"}')
    (tmp_path / "bad.npz").write_bytes(b"none")
    with pytest.raises(DistillError, match=r"broken\.png: cannot be read as an image"):
        data.load(settings(tmp_path / "images"), 0)
    with pytest.raises(DistillError, match=r"bad\.jsonl, line 1: expected"):
        data.load(settings(tmp_path / "bad.jsonl", source="texts"), 0)
    with pytest.raises(DistillError, match=r"bad\.npz: expected an \.npz file with arrays x and y"):
        data.load(settings(tmp_path / "bad.npz"), 0)
    with pytest.raises(DistillError, match=r"absent: expected a folder or a \.zip file"):
        data.load(settings(tmp_path / "absent"), 0)


@pytest.mark.slow
@pytest.mark.skipif(not OMNIGLOT.is_dir(), reason="needs ../shared/data/omniglot_small")
def test_omniglot_has_each_character_once():
    """Greek and Latin are in both archives: 136 + 156 folders are 242 characters."""
    splits = data.load(
        settings(*sorted(OMNIGLOT.glob("*.zip")), image_size=28, inverted=True, valid_per_class=4, test_per_class=8), 0
    )
    assert len(splits.classes) == 242
    assert len(splits.train.labels) == 242 * 8
