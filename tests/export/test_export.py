"""Exports: whole lists come back, each row tells its origin, and nothing is overwritten or left out in silence."""

import json
from pathlib import Path

import pytest
from datasets import load_dataset, load_from_disk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cyclealign.errors import BadConfig, NoSuchExperiment
from cyclealign.export import ExportRequest, export
from cyclealign.prompt_import import read_source
from cyclealign.store import Store
from tests.export.judged import WITH_TOOLS, Judged, as_json, judged_round, one_turn
from tests.support.store_values import TEMPLATE

pytestmark = pytest.mark.slow

TEXTS = [["best", "| <b>mid</b>\r\n---", ""], ["two\u2028lines", "worse"]]
FORMATS = ("jsonl", "parquet", "dataset")


@pytest.fixture
def judged(store: Store) -> Judged:
    return judged_round(store, [WITH_TOOLS, one_turn("second")], TEXTS)


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def read_back(folder: Path, kind: str, form: str):
    source = folder if form == "dataset" else folder / f"{kind}.{form}"
    return read_source(str(source), 0.0, hold_out_labelled=True)


def lists_of(imported) -> set:
    return {(as_json(labelled.prompt), labelled.answers) for labelled in imported.labelled}


@pytest.mark.parametrize("form", FORMATS)
def test_exported_rankings_come_back_as_the_same_lists(judged, tmp_path, form):
    """Prevents an export that loses answers, their order, a turn or a tool call on the way."""
    done = export(judged.store, ExportRequest("rankings", "trial", format=form), tmp_path / "out")
    assert (done.rows, done.lists, done.rounds) == (2, 2, 1)
    assert lists_of(read_back(tmp_path / "out", "rankings", form)) == judged.lists()


@pytest.mark.parametrize("form", FORMATS)
def test_exported_preferences_come_back_as_the_same_pairs(judged, tmp_path, form):
    """Prevents an undecided pair from becoming a preference, and a decided one from being turned round."""
    export(judged.store, ExportRequest("preferences", "trial", format=form), tmp_path / "out")
    best, *others = TEXTS[0]
    pairs = {(as_json(WITH_TOOLS), (best, other)) for other in others}
    assert lists_of(read_back(tmp_path / "out", "preferences", form)) == pairs


@pytest.mark.parametrize("form", FORMATS)
def test_exported_best_answers_come_back_as_the_same_prompts(judged, tmp_path, form):
    for number, as_messages in enumerate((False, True)):
        request = ExportRequest("sft", "trial", format=form, as_messages=as_messages)
        export(judged.store, request, tmp_path / str(number))
        back = read_back(tmp_path / str(number), "sft", form)
        assert {as_json(prompt) for prompt, _ in back.prompts} == {as_json(prompt) for prompt in judged.prompts}
        assert sum(back.remarks.values()) == (2 if as_messages else 0)


def test_exports_load_with_datasets_as_their_card_says(judged, tmp_path, monkeypatch):
    """Prevents a card whose header does not find the file, and a folder that datasets cannot open."""
    for form in FORMATS:
        export(judged.store, ExportRequest("rankings", "trial", format=form), tmp_path / form)
    saved = load_from_disk(str(tmp_path / "dataset"))
    assert saved[1]["responses"] == TEXTS[1]
    for form in ("jsonl", "parquet"):
        rows = load_dataset(str(tmp_path / form), split="train", cache_dir=str(tmp_path / "cache"))
        assert rows["responses"][:] == TEXTS


def test_each_row_tells_its_origin_and_the_card_sums_it_up(judged, tmp_path):
    """Prevents labels of which nobody knows the judge, the template or the round."""
    export(judged.store, ExportRequest("rankings", "trial"), tmp_path / "out")
    row = rows_of(tmp_path / "out" / "rankings.jsonl")[0]
    assert (row["judge"], row["judge_reported"], row["template"]) == ("a|judge", "a-judge-2026", TEMPLATE.hash)
    assert (row["round"], row["round_verdict"], row["ranked_by"], row["adapter"]) == (1, "accepted", "judge", None)
    assert (row["tau"], row["agreed"], row["chance"], row["steadiness"]) == (0.5, 1, 0.75, 0.75)
    assert row["scores"] == [1.0, 0.25, 0.25]
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| 1 | accepted | a\\|judge | {TEMPLATE.hash} | listwise | none (a-model) | 2 | 0 |" in card
    assert all(f"| `{name}` |" in card for name in row)


def test_a_persons_order_is_exported_before_the_judges_and_marked(store, tmp_path):
    """Prevents a correction by a person from being undone by the export."""
    prompts = [one_turn("first"), one_turn("second")]
    judged = judged_round(store, prompts, [["a", "b"], ["c", "d"]], reviewed=prompts[0])
    done = export(store, ExportRequest("rankings", "trial"), tmp_path / "out")
    rows = {row["prompt_id"]: row for row in rows_of(tmp_path / "out" / "rankings.jsonl")}
    assert done.by_people == 1
    assert rows[prompts[0].id]["responses"] == ["b", "a"]
    assert [rows[prompt.id]["ranked_by"] for prompt in prompts] == ["human", "judge"]
    assert (rows[prompts[0].id]["scores"], rows[prompts[0].id]["preferences"]) == (None, [])
    assert lists_of(read_source(str(tmp_path / "out" / "rankings.jsonl"), 1.0)) == judged.lists()
    export(store, ExportRequest("preferences", "trial"), tmp_path / "pairs")
    (pair,) = rows_of(tmp_path / "pairs" / "preferences.jsonl")
    assert (pair["chosen"][0]["content"], pair["ranked_by"], pair["share"]) == ("b", "human", None)


def test_the_minimum_preference_decides_which_pairs_are_exported(judged, tmp_path):
    counts = {}
    for share in (0.5, None):
        request = ExportRequest("preferences", "trial", min_preference=share)
        counts[share] = export(judged.store, request, tmp_path / str(share)).rows
    assert counts == {0.5: 2, None: 2}  # the undecided pairs, of share 0.5, are never exported


def test_only_accepted_rounds_are_exported_unless_others_are_named(store, tmp_path):
    """Prevents labels of a round that was rolled back from being trained on elsewhere."""
    judged_round(store, [one_turn("first")], [["a", "b"]], verdict="rolled_back")
    with pytest.raises(BadConfig, match=r"no accepted round.*--all-rounds"):
        export(store, ExportRequest("rankings", "trial"), tmp_path / "out")
    judged_round(store, [one_turn("second")], [["a", "b"]])
    assert export(store, ExportRequest("rankings", "trial"), tmp_path / "out").lists == 1
    assert export(store, ExportRequest("rankings", "trial", number=1), tmp_path / "one").lists == 1
    assert export(store, ExportRequest("rankings", "trial", all_rounds=True), tmp_path / "all").rounds == 2
    with pytest.raises(NoSuchExperiment, match="has no round 7"):
        export(store, ExportRequest("rankings", "trial", number=7), tmp_path / "none")


def test_records_of_argilla_come_back_and_hide_the_order(judged, tmp_path):
    """Prevents people who review in Argilla from seeing the judge's order in the names of the fields."""
    export(judged.store, ExportRequest("rankings", "trial", argilla=True), tmp_path / "out")
    records = json.loads((tmp_path / "out" / "records.json").read_text())
    assert records[1]["fields"] == {
        "prompt": [{"role": "user", "content": "second"}],
        "response-1": "worse",
        "response-2": "two\u2028lines",
    }
    suggestion = records[1]["suggestions"]["ranking"]
    assert suggestion == {"value": ["response-2", "response-1"], "agent": "a-judge", "type": "model"}
    back = read_source(str(tmp_path / "out" / "records.json"), 1.0)
    assert {answers for _, answers in lists_of(back)} == {tuple(texts) for texts in TEXTS}
    assert '"response-3"' in (tmp_path / "out" / "README.md").read_text()


def test_nothing_but_an_earlier_export_is_ever_replaced(judged, tmp_path):
    """Prevents an export into the wrong folder from deleting it."""
    request = ExportRequest("rankings", "trial")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("my notes")
    with pytest.raises(BadConfig, match="not an export"):
        export(judged.store, request, tmp_path / "mine", overwrite=True)
    export(judged.store, request, tmp_path / "out")
    with pytest.raises(BadConfig, match="--overwrite"):
        export(judged.store, request, tmp_path / "out")
    export(judged.store, request, tmp_path / "out", overwrite=True)
    assert (tmp_path / "mine" / "README.md").read_text() == "my notes"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "rankings", "min_preference": 0.9}, "no effect on rankings"),
        ({"kind": "preferences", "as_messages": True}, "no effect on preferences"),
        ({"kind": "sft", "argilla": True}, "records.json"),
        ({"kind": "rankings", "argilla": True, "format": "parquet"}, "records.json"),
        ({"kind": "rankings", "number": 1, "all_rounds": True}, "either --round or"),
    ],
)
def test_options_that_do_nothing_are_refused(judged, tmp_path, options, message):
    with pytest.raises(BadConfig, match=message):
        export(judged.store, ExportRequest(experiment="trial", **options), tmp_path / "out")


# Every character but NUL and surrogates: what a person may ask, and a model may write.
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
QUESTION = ANY_TEXT.filter(lambda text: bool(text.strip()))


@pytest.mark.slow
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=QUESTION, best=ANY_TEXT, worst=ANY_TEXT)
def test_any_text_survives_import_store_export_and_import(database, tmp_path_factory, question, best, worst):
    """Prevents a character that some step changes: the prompt would get another id, and the answer another text."""
    if best == worst:
        worst += "x"
    folder = tmp_path_factory.mktemp("any")
    source = folder / "in.jsonl"
    row = {"messages": [{"role": "user", "content": question}], "responses": [worst, best], "ranks": [2, 1]}
    source.write_text(json.dumps(row), encoding="utf-8")
    imported = read_source(str(source), 1.0)
    (prompt, _), (labelled,) = imported.prompts[0], imported.labelled
    name = folder.name
    with Store.open(database) as store:
        store.prompts.add_source(name, imported.prompts, imported.labelled, str(source))
        assert list(store.draws.held_out(name, 0)) == [prompt]
        assert store.prompts.labelled_lists(name) == [labelled]
        judged_round(store, [prompt], [[best, worst]])
        number = store.history.summaries("trial")[-1]["number"]
        for form in FORMATS:
            export(store, ExportRequest("rankings", "trial", number=number, format=form), folder / form)
            assert lists_of(read_back(folder / form, "rankings", form)) == {(as_json(prompt), (best, worst))}
