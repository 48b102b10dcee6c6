"""Logs of chat requests: the request in each form of record, and records without one are left out with a count."""

import json

import pytest

from cyclealign.errors import BadPrompts
from cyclealign.prompt_import import read_source
from cyclealign.prompt_import.logs import CUT, OTHER
from tests.support.prompt_files import written

TURNS = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "how?"}]
ANSWER = {"choices": [{"message": {"role": "assistant", "content": "so"}}]}
RECORDS = {
    "request and response": {"request": {"model": "m", "messages": TURNS}, "response": ANSWER},
    "a bare request": {"model": "m", "messages": TURNS, "temperature": 0.2},
    "a batch file": {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": TURNS}},
    "litellm": {"id": "1", "call_type": "acompletion", "status": "success", "messages": TURNS, "response": ANSWER},
    "litellm, failed": {"call_type": "completion", "status": "failure", "messages": TURNS, "error_str": "429"},
    "litellm's spend log": {"call_type": "acompletion", "messages": {}, "proxy_server_request": {"messages": TURNS}},
    "a spend log as text": {"messages": "{}", "proxy_server_request": json.dumps({"messages": TURNS})},
    "langfuse": {"id": "1", "type": "GENERATION", "input": TURNS, "output": {"role": "assistant", "content": "so"}},
    "langfuse, the whole request": {"type": "GENERATION", "input": {"messages": TURNS, "tools": []}, "output": "so"},
    "langfuse as text": {"type": "GENERATION", "input": json.dumps({"messages": TURNS})},
    "system beside the turns": {"body": {"model": "m", "system": "be brief", "messages": TURNS[1:]}},
    "responses": {"request": {"model": "m", "instructions": "be brief", "input": "how?"}},
    "responses with turns": {"model": "m", "instructions": "be brief", "input": TURNS[1:]},
    "answered turns": {"messages": [*TURNS, {"role": "assistant", "content": "so"}]},
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_each_record_gives_the_same_prompt(record, tmp_path):
    """Prevents one conversation under as many ids as there are loggers, and answers taken for questions."""
    imported = read_source(written(tmp_path, record), 0.0, log=True)
    assert [list(prompt.messages) for prompt, _ in imported.prompts] == [TURNS]


OTHERS = {
    "embedding": {"call_type": "aembedding", "input": "text", "model": "text-embedding-3"},
    "a bare embedding": {"model": "text-embedding-3", "input": "text"},
    "span": {"type": "SPAN", "input": {"messages": TURNS}},
    "event": {"type": "EVENT", "name": "click"},
    "empty turns": {"messages": []},
    "turns without roles": {"messages": ["a", 3]},
    "nested without end": {"request": {"request": {"request": {"request": {"request": {"messages": TURNS}}}}}},
    "text that looks like turns": {"input": "[not json"},
}


@pytest.mark.parametrize("record", OTHERS.values(), ids=OTHERS)
def test_other_records_are_left_out_and_counted(record, tmp_path):
    """Prevents a log that also has embeddings from being refused, and spans from doubling their generations."""
    imported = read_source(written(tmp_path, record, RECORDS["langfuse"]), 0.0, log=True)
    assert (len(imported.prompts), imported.dropped, imported.skipped) == (1, 1, 0)
    assert imported.remarks[OTHER] == 1


@pytest.mark.parametrize("text", ["begin ... (litellm_truncated 900 chars) ... end", "redacted-by-litellm"])
def test_texts_that_the_logger_has_cut_are_left_out(text, tmp_path):
    """Prevents training on half a question."""
    cut = {"messages": [{"role": "user", "content": text}]}
    imported = read_source(written(tmp_path, cut, RECORDS["litellm"]), 0.0, log=True)
    assert (len(imported.prompts), imported.remarks[CUT]) == (1, 1)


def test_hostile_records_are_refused_by_line(tmp_path):
    """Prevents half a file from being imported, and a record that ends the import with a traceback."""
    rows = [RECORDS["litellm"], {"messages": [{"role": "wizard", "content": "x"}]}, ["not", "an", "object"]]
    with pytest.raises(BadPrompts, match=r"2 of 3 rows[\s\S]*line 2: each turn of 'messages' needs a 'role'"):
        read_source(written(tmp_path, *rows), log=True)
    path = tmp_path / "deep.jsonl"
    path.write_text('{"request": ' + "[" * 100_000 + "\n" + json.dumps(RECORDS["litellm"]))
    assert len(read_source(str(path), log=True, skip_bad=True).prompts) == 1


def test_a_file_without_requests_says_so(tmp_path):
    with pytest.raises(BadPrompts, match="records without a chat request: 1"):
        read_source(written(tmp_path, OTHERS["span"]), log=True)
