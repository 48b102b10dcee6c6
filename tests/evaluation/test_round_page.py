"""The page of a round: verdict and reason, figures with intervals, cost, and answers in both rankings."""

from typing import Any

from cyclealign.evaluation.round_page import MAX_CHARS, MAX_PROMPTS, cell_text, prompts_to_show, round_page
from cyclealign.records import Metric


def prompt(number: int, tau: float = 1.0, text: str = "a question", answers: tuple[str, ...] = ("good", "bad")) -> Any:
    ids = [f"{number}-{place}" for place in range(len(answers))]
    return {
        "id": f"p{number:03}",
        "text": text,
        "candidates": [{"id": one, "text": answer} for one, answer in zip(ids, answers, strict=True)],
        "rankings": {"judge": {"order": ids}, "policy": {"order": ids[::-1]}},
        "agreement": {"tau": tau},
    }


def detail(*prompts: Any, **summary: Any) -> dict[str, Any]:
    row = {
        "experiment": "trial",
        "number": 3,
        "verdict": "rolled_back",
        "reason": "win rate 0.40 is below 0.50",
        "judge_calls": 1234,
        "judge_tokens": 5678,
        "cost_usd": 0.5,
        "seconds": 61.2,
        **summary,
    }
    steps = [{"step": "agree", "seconds": 0.2, "runs": 1}, {"step": "train", "seconds": 60.0, "runs": 1}]
    return {
        "summary": row,
        "notes": {},
        "approval": None,
        "prompts": list(prompts),
        "steps": steps,
        "training_steps": [],
        "failed_calls": [],
    }


def test_the_page_says_what_came_of_the_round_why_and_at_what_cost() -> None:
    """Prevents a page that is a plot and nothing else."""
    page = round_page(detail(prompt(1)), {"win_rate": Metric("win_rate", 0.4, 0.3, 0.5, 24)}, "![rounds](data:x)")
    assert page.startswith(
        "# Experiment trial, round 3: rolled back\n\n<p>Win rate 0&#46;40 is below 0&#46;50</p>\n\n!["
    )
    assert "| win rate against the parent | 0.40 | 0.30 to 0.50 | 24 |" in page
    assert "1,234 judge calls, 5,678 tokens, 0.5000 USD, 61 seconds." in page
    assert "Teacher and examiner are the same model" in page
    assert page.index("| train | 60.0 |") < page.index("| agree | 0.2 |")
    assert "<tr><td>1</td><td>good</td><td>bad</td></tr><tr><td>2</td><td>bad</td><td>good</td></tr>" in page


def test_the_page_names_another_judge_of_the_duels() -> None:
    """Prevents a warning about a judge that examines its own teaching where another one examined it, and its markup."""
    of_round = {**detail(), "settings": {"evaluation": {"judge": "<b>other</b>"}}}
    page = round_page(of_round, {"win_rate": Metric("win_rate", 0.4, 0.3, 0.5, 24)})
    assert "Teacher and examiner are the same model" not in page
    assert "another model than the teacher" in page
    assert "<b>other" not in page


def test_a_round_without_answers_has_no_empty_parts() -> None:
    """Prevents headings over nothing, and a list's bullet for each missing value."""
    page = round_page(detail(judge_calls=None, judge_tokens=None, cost_usd=None, seconds=None), {})
    assert "Figures" not in page
    assert "examiner" not in page
    assert "Answers" not in page
    assert "0 judge calls, 0 tokens, 0.0000 USD, 0 seconds." in page
    assert not any(line.startswith("-") for line in page.splitlines())


def test_at_most_ten_prompts_from_the_least_to_the_most_agreed() -> None:
    """Prevents a page that shows only where judge and policy agree, or one of many megabytes."""
    prompts = [prompt(number, tau=number / 100) for number in range(100)]
    shown = prompts_to_show(prompts[::-1])
    assert [one["id"] for one in shown] == [f"p{number:03}" for number in range(0, 100, 11)]
    assert len(shown) == MAX_PROMPTS
    unjudged = {**prompt(7), "rankings": {"policy": {"order": []}}}
    assert [one["id"] for one in prompts_to_show([prompt(1), unjudged])] == ["p001"]


def test_text_of_a_model_is_shown_as_it_is() -> None:
    """Prevents an answer that draws a table, a picture or a heading of its own on the page, or hides a part of it."""
    hostile = "</td></tr></table><script>x</script> ![p](http://evil/x.png) | # head\n\n- item `code` \u202etxt"
    shown = cell_text(hostile)
    assert not set(shown.replace("<br>", "")) & set("<>![]()|`-\n\u202e")
    assert "evil" in shown
    assert shown.count("<br>") == 2
    page = round_page(detail(prompt(1, text=hostile, answers=(hostile, "b"))), {})
    assert "<script>" not in page
    assert "http://" not in page


def test_a_long_answer_is_cut() -> None:
    """Prevents ten answers of a long-winded policy from filling the page."""
    assert cell_text("a" * (MAX_CHARS + 1)).replace("&#46;", ".") == "a" * MAX_CHARS + " ..."
