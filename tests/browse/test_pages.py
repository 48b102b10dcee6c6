"""The pages over a history: what they show, and that no text of a model becomes more than text."""

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest
from fastapi.testclient import TestClient

from cyclealign.browse.page import as_csv
from cyclealign.store import Property, Store

pytestmark = pytest.mark.slow
csv.field_size_limit(10**7)
ROUND = "/experiments/trial/rounds/2"
PAGES = [
    "/",
    "/experiments/trial",
    "/experiments/trial/demonstrations",
    "/experiments/trial/templates",
    ROUND,
    f"{ROUND}?only=disagreed&search=good",
    "/compare",
    "/compare?first=trial:1&second=trial:2",
    "/spending",
    "/spending?experiment=trial&by=round",
    "/judges",
    "/distillations",
]


class Parsed(HTMLParser):
    """The elements of a page, with their attributes, and its ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def prompt_page(client: TestClient) -> str:
    """Return the address of the page of the round's first prompt."""
    found = re.search(rf'href="({ROUND}/prompts/[^"]+)"', client.get(ROUND).text)
    assert found is not None
    return found[1]


def test_no_text_of_a_model_becomes_markup(client: TestClient) -> None:
    """Prevents an answer that runs as a script, leads elsewhere or breaks the page, and text that hides itself."""
    for url in (*PAGES, prompt_page(client)):
        response = client.get(url)
        assert response.status_code == 200, url
        parsed = Parsed(response.text)  # fails if an element is closed that the page did not open
        assert not parsed.open, url
        assert not {tag for tag, _ in parsed.elements} & {"script", "b", "u", "i", "em", "q", "object", "iframe"}
        for tag, attributes in parsed.elements:
            assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
            for target in (attributes.get("href"), attributes.get("src"), attributes.get("action")):
                assert target is None or (target.startswith(("/", "#")) and not target.startswith("//")), target
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e]", response.text)
        assert len(response.text) < 1_500_000


def test_a_prompt_has_everything_that_was_said_about_it(client: TestClient) -> None:
    """Prevents a label whose judge, template, request, reply or failure cannot be found."""
    text = client.get(prompt_page(client)).text
    for part in (
        "&lt;b&gt;bold&lt;/b&gt; question",
        "template <a href=",
        "Shown as A = ",
        "&lt;script&gt;document.title",  # the request
        "&lt;img src=x",  # the reply
        "&lt;i&gt;timed out&lt;/i&gt;",
        "flagged: injection",
        "{{ 7 * 7 }}",
        "turned \\u202eround",
    ):
        assert part in text, part


def test_filters_pages_and_counts_agree(client: TestClient, history: Store) -> None:
    """Prevents a page that shows other prompts than its filter says, and a link that loses the filter."""
    page = client.get(f"{ROUND}?only=disagreed&limit=3")
    assert "Prompts 1 to 3 of 4." in page.text
    following = re.search(r'rel="next" href="([^"]+)"', page.text)
    assert following is not None
    last = client.get(following[1].replace("&amp;", "&"))
    assert "Prompts 4 to 4 of 4." in last.text
    assert 'value="disagreed" checked' in last.text
    assert f'value="{Property.FLAGGED.value}">' in last.text
    assert "No prompts." in client.get(f"{ROUND}?search=nowhere").text


def test_a_page_can_be_taken_along_as_csv_and_as_json_lines(client: TestClient) -> None:
    """Prevents a table whose cells are lost or moved, and one that a spreadsheet runs."""
    url = f"{ROUND}?limit=1"
    lines = [json.loads(line) for line in client.get(f"{url}&form=jsonl").text.splitlines()]
    rows = list(csv.DictReader(io.StringIO(client.get(f"{url}&form=csv").text, newline="")))
    assert [row["candidate_id"] for row in rows] == [line["candidate_id"] for line in lines]
    assert {line["answer"] for line in lines} >= {'=HYPERLINK("//elsewhere")', "{{ 7 * 7 }} {% raw %} ${7*7}"}
    assert not [cell for row in rows for cell in row.values() if cell.startswith("=")]
    assert as_csv([{"a": "=1", "b": -1, "c": [1]}]).splitlines() == ["a,b,c", "'=1,-1,[1]"]


def test_two_rounds_are_compared_on_the_prompts_that_they_share(client: TestClient) -> None:
    """Prevents a comparison of different prompts, and figures in the wrong column."""
    text = client.get("/compare?first=trial:1&second=trial:2").text
    assert "Shared prompts 1 to 7 of 7." in text
    assert text.count("<h4>trial:1</h4>") == text.count("<h4>trial:2</h4>") == 7


NOWHERE = [
    ("/experiments/tria", 404, "Did you mean &#39;trial&#39;?"),
    ("/experiments/trial/rounds/9", 404, "no round 9"),
    (f"{ROUND}/prompts/none", 404, "no prompt"),
    ("/distillations/9", 404, "no distillation run 9"),
    ("/compare?first=trial&second=trial:1", 400, "EXPERIMENT:NUMBER"),
    (f"{ROUND}?page=0", 422, "page"),
    (f"{ROUND}?only=<b>", 422, "only"),
    ("/nowhere", 404, "no such page"),
]


def test_an_address_that_leads_nowhere_says_so(client: TestClient) -> None:
    """Prevents a traceback, and a page that repeats what an address put into it."""
    for url, status, words in NOWHERE:
        response = client.get(url)
        assert response.status_code == status, url
        assert words in response.text, url
        assert "<b>" not in response.text, url


def test_spending_adds_up_in_every_grouping(client: TestClient, history: Store) -> None:
    """Prevents costs that are counted twice or lost."""
    calls = sum(row["answered_calls"] for row in history.views.rows("judge_spending"))
    for by in ("experiment", "round", "model", "purpose"):
        text = client.get(f"/spending?by={by}").text
        total = text[text.index('class="total"') :]
        assert f"<td>{calls}</td>" in total


def test_a_change_of_the_template_is_shown_with_its_effect(client: TestClient) -> None:
    """Prevents a label whose template cannot be found."""
    text = client.get("/experiments/trial/templates").text
    assert "{% block system %}" in text
    assert f'href="{ROUND}"' in text


def test_the_page_of_a_long_experiment_shows_its_last_rounds_and_all_on_demand(client: TestClient) -> None:
    """Prevents a page of a thousand rounds that takes minutes to draw, and rounds that cannot be reached from it."""
    address = "/experiments/trial"
    text = client.get(f"{address}?last=1").text
    assert "2 rounds" in text
    assert "rounds 2 to 2" in text
    assert f'href="{ROUND}"' in text
    assert f'href="{address}/rounds/1"' not in text
    assert f'href="{address}/rounds/1"' in client.get(f"{address}?last=2").text
    assert [row["round"] for row in map(json.loads, client.get(f"{address}?form=jsonl").text.splitlines())] == [1, 2]
    assert "Show all" not in client.get(address).text
