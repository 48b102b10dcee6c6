"""The columns of exported rows: their Arrow types and meanings, one table per kind of export."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import pyarrow

Kind = Literal["rankings", "preferences", "sft"]
TURNS, TEXTS, NUMBERS, COUNTS = "turns", "texts", "numbers", "counts"


class Column(NamedTuple):
    """A column: the name of its type, and its meaning for the data card."""

    type: str
    meaning: str


ORIGIN = {
    "experiment": Column("text", "the experiment"),
    "round": Column("count", "the round of the experiment, from 1"),
    "round_verdict": Column("text", "whether the round was accepted"),
    "prompt_id": Column("text", "hash of the prompt's messages"),
    "ranked_by": Column("text", "`human` if a person ranked the list, else `judge`"),
    "judge": Column("text", "the judge's model, as asked for; several are separated by commas"),
    "judge_reported": Column("text", "the judge's model, as the endpoint reports it"),
    "template": Column("text", "version (hash) of the judge's template"),
    "method": Column("text", "the judge's ranking method"),
    "base_model": Column("text", "the policy's base model"),
    "adapter": Column("text", "the adapter with which the policy wrote the answers; null: the base model"),
    "steadiness": Column("number", "agreement among the judge's verdicts on the list, from 0 to 1"),
    "tau": Column("number", "Kendall's tau of the policy's and the judge's rankings, from -1 to 1"),
    "agreed": Column("count", "length of the longest common subsequence of both rankings"),
    "chance": Column("number", "probability that two random rankings agree on at least as many"),
}
OWN: dict[Kind, dict[str, Column]] = {
    "rankings": {
        "prompt": Column(TURNS, "the conversation that the policy answered"),
        "responses": Column(TEXTS, "the policy's answers, best first"),
        "ranks": Column(COUNTS, "the rank of each answer; 1 is the best"),
        "scores": Column(
            NUMBERS, "mean share of the judge's verdicts that rank the answer above another one; null: none"
        ),
        "preferences": Column(
            "preferences",
            "the judge's verdicts on pairs: places (from 0) of the better and the worse answer in `responses`, the "
            "share of the verdicts that agree (0.5: undecided), and their number",
        ),
        "mean_logprobs": Column(NUMBERS, "log-prob per token of each answer under the policy, in nats"),
        "finish_reasons": Column(TEXTS, "`length` for an answer that was cut at the maximum length, else `stop`"),
        "response_ids": Column(TEXTS, "the answers' ids in the database"),
    },
    "preferences": {
        "prompt": Column(TURNS, "the conversation that the policy answered"),
        "chosen": Column(TURNS, "the better answer"),
        "rejected": Column(TURNS, "the worse answer"),
        "share": Column("number", "share of the judge's verdicts that agree on the pair; null: a person's ranking"),
        "verdicts": Column("count", "number of the judge's verdicts on the pair"),
        "chosen_finish_reason": Column("text", "`length` if the answer was cut at the maximum length"),
        "rejected_finish_reason": Column("text", "`length` if the answer was cut at the maximum length"),
    },
    "sft": {
        "prompt": Column(TURNS, "the conversation that the policy answered"),
        "completion": Column(TURNS, "the best answer"),
        "finish_reason": Column("text", "`length` if the answer was cut at the maximum length"),
    },
}
MESSAGES = Column(TURNS, "the conversation that the policy answered, and the best answer")


def columns(kind: Kind, as_messages: bool = False) -> dict[str, Column]:
    """Return the columns of an export by name; ``as_messages``: prompt and completion in one list of turns."""
    own = OWN[kind]
    if as_messages:
        own = {"messages": MESSAGES, "finish_reason": own["finish_reason"]}
    return {**own, **ORIGIN}


def arrow_schema(described: dict[str, Column], with_tools: bool) -> "pyarrow.Schema":
    """Return the Arrow schema of the columns; turns have the keys of tool calls only if a prompt has any."""
    import pyarrow

    types = dict(_arrow_types(with_tools))
    return pyarrow.schema([(name, types[column.type]) for name, column in described.items()])


def _arrow_types(with_tools: bool) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa

    text, number, count = pa.string(), pa.float64(), pa.int64()
    turn = [("role", text), ("content", text)]
    if with_tools:
        call = [("type", text), ("id", text), ("function", pa.struct([("name", text), ("arguments", text)]))]
        turn += [("tool_calls", pa.list_(pa.struct(call))), ("tool_call_id", text), ("name", text)]
    pair = [("better", count), ("worse", count), ("share", number), ("verdicts", count)]
    yield from {"text": text, "number": number, "count": count}.items()
    yield from {TEXTS: pa.list_(text), NUMBERS: pa.list_(number), COUNTS: pa.list_(count)}.items()
    yield TURNS, pa.list_(pa.struct(turn))
    yield "preferences", pa.list_(pa.struct(pair))
