"""The direction of a reply's list: no reply is read against the direction that it names."""

import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclealign.errors import UnreadableReply
from cyclealign.judge.reply_parser import read_ranking
from cyclealign.ranking.consensus import strict_tiers
from cyclealign.records import Tiers

LABELS = ["AC3", "DE4", "FH7", "KM9"]
BEST_FIRST = strict_tiers(["KM9", "FH7", "DE4", "AC3"])
RISING = ["AC3", "DE4", "FH7", "KM9"]  # written worst first

Form = Callable[[Sequence[str]], str]


def read(reply: str, labels: Sequence[str] = tuple(LABELS)) -> Tiers | None:
    try:
        return read_ranking(reply, labels)
    except UnreadableReply:
        return None


def numbered(order: Sequence[str]) -> str:
    return "\n".join(f"{place}. {label}" for place, label in enumerate(order, 1))


def described(order: Sequence[str]) -> str:
    return "\n".join(f"{place}. **{label}** - an answer with some text" for place, label in enumerate(order, 1))


def table(order: Sequence[str]) -> str:
    rows = [f"| {place} | {label} |" for place, label in enumerate(order, 1)]
    return "\n".join(["| Rank | Answer |", "|---|---|", *rows])


def as_json(order: Sequence[str]) -> str:
    return json.dumps({"ranking": list(order)})


def as_map(order: Sequence[str]) -> str:
    return json.dumps({"ranking": {label: place for place, label in enumerate(order, 1)}})


def json5(order: Sequence[str]) -> str:
    return "{'Ranking': [" + ", ".join(f"'{label}'" for label in order) + ",],}"


FORMS: list[Form] = [as_json, as_map, json5, " > ".join, numbered, described, table, lambda o: "- " + "\n- ".join(o)]
PLACES: list[Callable[[str, str], str]] = [
    lambda words, body: f"{words}:\n{body}",
    lambda words, body: f"{words}: {body}",
    lambda words, body: f"Ranking ({words}):\n\n{body}",
    lambda words, body: f"## {words}\n\n{body}",
    lambda words, body: f"My ranking, {words}.\n{body}",
    lambda words, body: f"{body}\n({words})",
    lambda words, body: f"{body} ({words})",
    lambda words, body: f"{body}\n\nThis is {words}.",
]
WORST_FIRST = """\
From worst to best
worst-to-best
WORST → BEST
worst first
**worst** ... **best**
the weakest comes first
first the worst, then the others
best last
with the best one at the end
the last answer is the best one
the final entry is the winner
starting with the worst
ending with the strongest
least to most helpful
from the least helpful answer to the most helpful one
from bad to good
from lowest to highest
bottom up
ascending
in ascending order of quality
in order of increasing quality
increasingly good
in reverse order
reversed
best to worst, reversed
not best to worst
the opposite of best first
4 is best
1 = worst
higher is better
from most to least harmful
most problematic first
sorted by how bad they are
in the order in which I would discard them
worse ones before better ones
w\u200borst to best
Vom schlechtesten zum besten
schlechteste zuerst
aufsteigende Reihenfolge
du pire au meilleur
du moins bon au meilleur
ordre croissant
de peor a mejor
do pior para o melhor
dal peggiore al migliore
van slecht naar goed
от худшего к лучшему
从最差到最好
由差到好
升序
最悪から最良へ
悪い順
최악에서 최고로""".splitlines()
KNOWN_BEST_FIRST = """\
From best to worst
best first
Best-to-worst
strongest to weakest
from the most helpful to the least helpful
1 = best, 4 = worst
in descending order of quality
vom besten zum schlechtesten
du meilleur au pire
从最好到最差""".splitlines()


@pytest.mark.parametrize("words", WORST_FIRST)
def test_a_list_that_is_called_worst_first_is_never_read_best_first(words):
    """Prevents wrong labels in silence: the worst answer of a list would be trained as the best."""
    for form in FORMS:
        for place in PLACES:
            assert read(place(words, form(RISING))) in (None, BEST_FIRST), place(words, form(RISING))


@pytest.mark.parametrize("words", KNOWN_BEST_FIRST)
@pytest.mark.parametrize("form", FORMS)
def test_a_list_that_is_called_best_first_is_read(words, form):
    """Prevents verdicts from being paid twice for saying what was asked."""
    assert read(f"{words}:\n{form(RISING[::-1])}") == BEST_FIRST


@pytest.mark.parametrize(
    "reply",
    [
        "From worst to best:\n1. AC3\n2. DE4\n3. FH7\n4. KM9",
        "Worst to best: AC3 > DE4 > FH7 > KM9",
        "Worst to best: AC3 < DE4 < FH7 < KM9",
        "Here is my ranking, worst first:\n\n- AC3\n- DE4\n- FH7\n- KM9",
        "## Least to most helpful\n\n1. AC3 - rude\n2. DE4 - vague\n3. FH7 - fine\n4. KM9 - right",
        "From worst to best:\n4. AC3\n3. DE4\n2. FH7\n1. KM9",
        "Vom schlechtesten zum besten:\nAC3 > DE4 > FH7 > KM9",
        'Worst first: AC3 > DE4 > FH7 > KM9\n\n{"ranking": ["KM9", "FH7", "DE4", "AC3"]}',
    ],
)
def test_an_explicit_announcement_right_before_a_list_turns_it_round(reply):
    """Prevents clear verdicts from being paid twice, or read the wrong way round."""
    assert read(reply) == BEST_FIRST


@pytest.mark.parametrize(
    "reply",
    [
        '{"ranking_worst_to_best": ["AC3", "DE4", "FH7", "KM9"]}',
        '{"worstToBest": {"ranking": ["AC3", "DE4", "FH7", "KM9"]}}',
        '{"ranking": ["AC3", "DE4", "FH7", "KM9"], "order": "worst_to_best"}',
        '{"ranking": ["AC3", "DE4", "FH7", "KM9"], "direction": "up"}',
        '{"ranking": ["AC3", "DE4", "FH7", "KM9"], "reversed": true}',
        '{"ranking": ["AC3", "DE4", "FH7", "KM9"], "best_first": false}',
        '{"ranking": ["AC3", "DE4", "FH7", "KM9"], "best_index": 3}',
        '{"ranking": ["AC3", "DE4", "FH7", "KM9"], "note": "the best comes last"}',
        '{"ranking": ["AC3", "DE4", "FH7", "KM9"] /* worst first */}',
        '{"ranking": ["AC3", "DE4", "FH7", "KM9"], // a legrosszabbtól a legjobbig\n}',
        '{"best": "KM9", "ranking": ["AC3", "DE4", "FH7", "KM9"]}',
        '{"chosen": "KM9", "ranking": ["AC3", "DE4", "FH7", "KM9"]}',
        '{"rank_1": "KM9", "ranking": ["AC3", "DE4", "FH7", "KM9"]}',
        '{"ranking": ["AC3 (worst)", "DE4", "FH7", "KM9 (best)"]}',
        '{"ranking": ["4. AC3", "3. DE4", "2. FH7", "1. KM9"]}',
        '{"ranking": ["AC3 (1/10)", "DE4 (3/10)", "FH7 (8/10)", "KM9 (9/10)"]}',
        '{"ranking": [{"label": "AC3", "rank": 4}, {"label": "DE4", "rank": 3}, {"label": "FH7", "rank": 2}, '
        '{"label": "KM9", "rank": 1}]}',
        '{"ranking": [{"AC3": 1}, {"DE4": 3}, {"FH7": 8}, {"KM9": 9}]}',
        '{"ranking": {"AC3": 1, "DE4": 3, "FH7": 8, "KM9": 9}}',
        '{"AC3": 1, "DE4": 2, "FH7": 3, "KM9": 4}',
        '{"scores": {"AC3": 1, "DE4": 3, "FH7": 8, "KM9": 9}, "ranking": ["AC3", "DE4", "FH7", "KM9"]}',
        '{"ranking": ["AC3", "DE4", "FH7", "KM9"], "final": ["KM9", "FH7", "DE4", "AC3"]}',
        '{"ranking": ["AC3", "DE4", "FH7", "KM9"]} Wrong way round: {"ranking": ["KM9", "FH7"',
        "1. AC3 (worst)\n2. DE4\n3. FH7\n4. KM9 (best)",
        "Ranking:\n1. AC3 - the worst answer\n2. DE4 - vague\n3. FH7 - fine\n4. KM9 - the best",
        "Ranking:\n1. AC3: 1/10\n2. DE4: 3/10\n3. FH7: 8/10\n4. KM9: 9/10",
        "Best to worst:\n4. AC3\n3. DE4\n2. FH7\n1. KM9",
        "The answers in the order shown:\n1. AC3\n2. DE4\n3. FH7\n4. KM9",
        "| Rank (1 = worst) | Answer |\n|---|---|\n| 1 | AC3 |\n| 2 | DE4 |\n| 3 | FH7 |\n| 4 | KM9 |",
        "| Score | Answer |\n|---|---|\n| 1 | AC3 |\n| 2 | DE4 |\n| 3 | FH7 |\n| 4 | KM9 |",
        "| Rank | Answer | Score |\n|---|---|---|\n| 1 | AC3 | 1 |\n| 2 | DE4 | 3 |\n| 3 | FH7 | 8 |\n| 4 | KM9 | 9 |",
        "(worst) AC3 > DE4 > FH7 > KM9 (best)",
        'AC3 > DE4 > FH7 > KM9, where ">" means "is worse than"',
        "AC3 < DE4 < FH7 < KM9",
        '{"ranking": ["AC3", "DE4", "FH7", "KM9"]}\nThat is, AC3 < DE4 < FH7 < KM9.',
        "The best answer is KM9.\n\nAC3 > DE4 > FH7 > KM9",
        "KM9 wins. AC3 > DE4 > FH7 > KM9",
        "AC3 comes last.\nAC3 > DE4 > FH7 > KM9",
    ],
)
def test_a_ranking_that_the_reply_contradicts_is_unreadable(reply):
    """Prevents a list from being read against numbers, scores, keys or sentences beside it."""
    assert read(reply) is None


@pytest.mark.parametrize(
    "reply",
    [
        '{"reasons": {"KM9": "The best opening, with increasing detail", "FH7": "Sorts in ascending order", '
        '"DE4": "Worst style of the good ones", "AC3": "says it in reverse order"}, '
        '"ranking": ["KM9", "FH7", "DE4", "AC3"]}',
        "KM9 is clearly the best answer and AC3 is the worst.\n\nFinal ranking: KM9 > FH7 > DE4 > AC3",
        '{"best": "KM9", "worst": "AC3", "scores": {"KM9": 9, "FH7": 7, "DE4": 7, "AC3": 1}, '
        '"ranking": ["KM9", "FH7", "DE4", "AC3"]}',
        '{"ranking": ["KM9", "FH7", "DE4", "AC3"]}\n\nKM9 explains each step; FH7 omits one, AC3 is rude.',
        "Antwort KM9 ist klar und hilfreich.\n\n" + as_json(RISING[::-1]),
    ],
)
def test_remarks_on_answers_name_no_direction(reply):
    """Prevents ordinary reasons from making a verdict unreadable, so that it is paid twice."""
    assert read(reply) == BEST_FIRST


orders = st.integers(2, 4).flatmap(lambda count: st.permutations(LABELS[:count]))


@given(orders, st.sampled_from(FORMS), st.sampled_from(PLACES), st.sampled_from(WORST_FIRST))
def test_a_worst_first_announcement_never_yields_the_order_written(order, form, place, words):
    """Prevents a pair of order, notation and wording that slips through the examples above."""
    assert read(place(words, form(order)), sorted(order)) in (None, strict_tiers(order[::-1]))


@given(orders, st.sampled_from(FORMS), st.text(alphabet='abcdegiorstw <>=.,:()"{}/*\n1234-', max_size=40))
def test_random_words_around_a_ranking_never_change_it_to_another(order, form, words):
    """Prevents text beside a ranking from turning it round or changing its labels."""
    for reply in (f"{words}\n{form(order)}", f"{form(order)}\n{words}"):
        assert read(reply, sorted(order)) in (None, strict_tiers(order))


def test_words_about_an_answer_do_not_turn_a_list_round():
    """Prevents "worst first paragraph" from being taken for the announcement of a list."""
    assert read("Since AC3 has the worst first paragraph: KM9 > FH7 > DE4 > AC3") is None


def test_the_repair_request_is_told_the_reason():
    """Prevents a repeated request that leaves the judge to make the same mistake again."""
    with pytest.raises(UnreadableReply, match="order other than from best to worst"):
        read_ranking("Sorted by how bad they are: AC3 > DE4 > FH7 > KM9", LABELS)
    with pytest.raises(UnreadableReply, match="numbers beside the labels"):
        read_ranking('{"ranking": {"AC3": 9, "DE4": 8, "FH7": 3, "KM9": 1}}', LABELS)
