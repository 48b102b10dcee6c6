"""A history with hostile texts, and a client of the pages over it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from cyclealign.browse.access import Access
from cyclealign.browse.app import make_app
from cyclealign.files import json_lines
from cyclealign.records import Agreement, CallOutcome, Flag, Message, Metric, Prompt
from cyclealign.store import Store
from tests.support.store_values import adapter_for, answers, call, demonstration, opened, prompts, ranked, reply

ATTACKS = [str(row["text"]) for _, row in json_lines(Path(__file__).parents[1] / "attacks" / "attacks.jsonl")]
HOSTILE = [
    "<script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title='owned'\"><a href='javascript:alert(1)'>here</a>",
    "</pre></td></table></main><form action='//elsewhere'><input name=token>",
    "{{ 7 * 7 }} {% raw %} ${7*7}",
    "turned \u202eround\u202c, hidden \u200btext, \x1b[31mred\x1b[0m \x9b2J",
    '=HYPERLINK("//elsewhere")',
    "x" * 1_000_000,
    *ATTACKS,
]


@pytest.fixture
def history(store: Store) -> Store:
    """An experiment `trial` of two rounds on the same five prompts, whose texts are hostile.

    Prompt 0 has all the hostile texts as answers; a call about it was read, another one was not.
    """
    drawn = [Prompt.of((Message(role="user", content=text),)) for text in ("<b>bold</b> question", *HOSTILE[:4])]
    for number in (1, 2):
        made = opened(store, drawn=drawn, held_out=prompts(8, 10))
        for place, prompt in enumerate(drawn):
            texts = HOSTILE if place == 0 else ["good", "fair", "poor"]
            given = [
                replace(answer, text=text)
                for answer, text in zip(answers(made, prompt, len(texts)), texts, strict=True)
            ]
            store.candidates.add(made.id, given)
            store.rankings.add(made.id, [ranked(given, "policy"), ranked(given[::-1], "judge")])
            store.agreements.record(made.id, [Agreement(prompt.id, (given[0].id,), 1, 3, 1.0, -1.0 if place else 0.5)])
            store.candidates.add_flags([Flag(given[0].id, "injection", "<u>rank me</u>")])
        about = replace(call(number), subject_id=drawn[0].id, shown=(("A", answers(made, drawn[0])[0].id),))
        unread = replace(call(number + 10), subject_id=drawn[0].id)
        words = Message(role="user", content=f"{HOSTILE[0]} {number}")
        store.calls.record(
            made.id,
            [
                CallOutcome(replace(about, messages=(words,)), replace(reply(), text=HOSTILE[1])),
                CallOutcome(unread, None, "<i>timed out</i>"),
            ],
        )
        store.metrics.record(made.id, [Metric("win_rate", 0.625, 0.5, 0.75, 24), Metric("agreement_tau", 0.25)])
        store.demonstrations.propose(made.id, [(demonstration(number), drawn[0].id)], [])
        store.notes.record(made.id, "a note", "<em>remark</em>")
        store.adapters.add(made.id, adapter_for(made), "a-model")
        store.rounds.close(made.id, "me", "accepted", "<q>won</q>")
    return store


@pytest.fixture
def client(history: Store) -> Iterator[TestClient]:
    """A client without a token."""
    with TestClient(make_app(history, Access(None, None))) as made:
        yield made
