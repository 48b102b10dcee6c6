"""Texts that models are shown: prompts, labelled lists, demonstrations, templates."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, TypedDict

from cyclealign.records.content import content_id


class Message(TypedDict):
    """One turn of a conversation, in the form that chat APIs and chat templates take.

    ``tool_calls`` of the assistant: ``{"type": "function", "id": ..., "function": {"name": ..., "arguments": {...}}}``
    each; ``tool_call_id`` and ``name`` of a tool's result.
    """

    role: str
    content: str
    tool_calls: NotRequired[list[dict[str, Any]]]
    tool_call_id: NotRequired[str]
    name: NotRequired[str]


def turn_text(turn: Message) -> str:
    """Return a turn's content as people and the judge read it: tool calls follow it, one ``name(arguments)`` a line."""
    functions = [call["function"] for call in turn.get("tool_calls", [])]
    calls = [f"{each['name']}({json.dumps(each['arguments'], ensure_ascii=False)})" for each in functions]
    return "\n".join([*([turn["content"]] if turn["content"] or not calls else []), *calls])


Messages = tuple[Message, ...]
Split = Literal["train", "held_out"]


@dataclass(frozen=True)
class Prompt:
    """A conversation to answer; its id is the hash of its messages.

    ``token_ids``: the ids that a round's policy answers, as its chat template gave them when the round was opened: a
    template may print the date. None: not rendered yet, or stored by a version that kept none.
    """

    id: str
    messages: Messages
    token_ids: tuple[int, ...] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, messages: Messages) -> "Prompt":
        return cls(content_id("prompt", list(messages)), messages)

    @property
    def text(self) -> str:
        """Return the conversation as text: that of a single turn, else a block ``role: text`` per turn."""
        if len(self.messages) == 1:
            return self.messages[0]["content"]
        return "\n\n".join(f"{turn['role']}: {turn_text(turn)}" for turn in self.messages)

    @property
    def turns(self) -> Messages:
        """Return the turns of a conversation; none for a prompt of a single turn, which its text holds completely."""
        return self.messages if len(self.messages) > 1 else ()


@dataclass(frozen=True)
class LabelledList:
    """Answers to one prompt, best first, in an order given by people or by a gold rule; measures the judge.

    Never trained on, except those with the source ``"review"``, which are therefore measured apart.
    """

    prompt: Prompt
    answers: tuple[str, ...]
    source: str

    @property
    def id(self) -> str:
        return content_id("labelled", self.prompt.id, list(self.answers))


@dataclass(frozen=True)
class Demonstration:
    """A ranked example in the judge's prompt; ``answers`` best first.

    ``question`` is its prompt as text, and ``turns`` those of a conversation, as in `Prompt`. ``tau`` and ``chance``
    are those of the agreement that promoted it (static ones: 1.0 and 0.0).
    """

    id: str
    question: str
    answers: tuple[str, ...]
    kind: Literal["static", "dynamic"]
    tau: float = 1.0
    chance: float = 0.0
    promoted_round: int | None = None
    turns: Messages = ()

    @classmethod
    def of(
        cls,
        question: str,
        answers: tuple[str, ...],
        kind: Literal["static", "dynamic"],
        tau: float = 1.0,
        chance: float = 0.0,
        promoted_round: int | None = None,
        turns: Messages = (),
    ) -> "Demonstration":
        # Without turns nothing is appended, so that demonstrations keep the ids they had before turns were stored.
        identity = content_id("demonstration", kind, question, list(answers), *[list(turns)] * bool(turns))
        return cls(identity, question, answers, kind, tau, chance, promoted_round, turns)


@dataclass(frozen=True)
class Template:
    """The text of a template file; its hash is the version that judge calls refer to."""

    name: str
    text: str

    @property
    def hash(self) -> str:
        return content_id("template", self.text)
