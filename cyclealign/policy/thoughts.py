"""Tell the thought of a model that reasons before it answers from the answer itself."""

from collections.abc import Callable, Collection, Sequence

Marks = tuple[str, str]  # begin and end of a thought
# As text, since few of them are special tokens. A model uses one of them.
KNOWN_MARKS: tuple[Marks, ...] = (
    ("<think>", "</think>"),  # Qwen3, DeepSeek-R1, GLM, Granite, EXAONE, MiniMax ...
    ("[THINK]", "[/THINK]"),  # Magistral
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss (Harmony)
    ("<|channel>thought", "<channel|>"),  # Gemma 4
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
)
PROMPT_TAIL_TOKENS = 32  # enough for the longest mark


def opened_by_prompt(prompt_end: str) -> Marks | None:
    """Return the marks of a thought that the chat template begins for the model, from the end of the prompt's text."""
    return next((marks for marks in KNOWN_MARKS if prompt_end.rstrip().endswith(marks[0])), None)


def thought_length(raw: str, opened: Marks | None, vocabulary: Collection[str]) -> int | None:
    """Return the number of characters of the thought at the beginning of a sample, closing mark included.

    ``len(raw)``: the thought was never ended. None: there is no thought.

    Args:
        raw: the sample's text, special tokens included.
        opened: the marks of a thought that the prompt has begun.
        vocabulary: the tokens that were added to the tokenizer. A closing mark without an opening one ends a thought
            only if it is one of them: otherwise it may be a word of the answer.
    """
    for begin, end in (opened,) if opened else KNOWN_MARKS:
        stray = end in vocabulary and end in raw
        if opened or stray or raw.lstrip().startswith((begin, end)):
            return _thought_end(raw, begin, end)
    return None


def _thought_end(raw: str, begin: str, end: str) -> int:
    """Return the position after the thought; a second one right after it belongs to it."""
    position, thinking = 0, True
    while thinking:
        found = raw.find(end, position)
        if found < 0:
            return len(raw)
        position = found + len(end)
        thinking = raw[position:].lstrip().startswith(begin)
    return position


def tokens_of_prefix(ids: Sequence[int], decode: Callable[[Sequence[int]], str], prefix: str) -> int:
    """Return the smallest number of the first tokens whose text begins with ``prefix``, by bisection."""
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        if decode(ids[:middle]).startswith(prefix):
            high = middle
        else:
            low = middle + 1
    return low
