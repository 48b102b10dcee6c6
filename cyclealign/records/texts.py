"""What is written and put to models: prompts, labelled lists, demonstrations, templates."""

from dataclasses import dataclass
from typing import Literal, TypedDict

from cyclealign.records.content import content_id


class Message(TypedDict):
    """One turn of a conversation, in the form that chat APIs and chat templates take."""

    role: str
    content: str


Messages = tuple[Message, ...]
Split = Literal["train", "held_out"]


@dataclass(frozen=True)
class Prompt:
    """A conversation that waits for an answer; its id is the hash of its messages."""

    id: str
    messages: Messages

    @classmethod
    def of(cls, messages: Messages) -> "Prompt":
        return cls(content_id("prompt", list(messages)), messages)

    @property
    def text(self) -> str:
        """The conversation as one reads it: the bare text of a single turn, else one ``role: text`` block each."""
        if len(self.messages) == 1:
            return self.messages[0]["content"]
        return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in self.messages)


@dataclass(frozen=True)
class LabelledList:
    """Answers to one prompt in an order that people (or a stated gold rule) gave; best first.

    Never trained on, unless ``source`` is ``"review"``: those lists measure the judge only, and by themselves.
    """

    prompt: Prompt
    answers: tuple[str, ...]
    source: str

    @property
    def id(self) -> str:
        return content_id("labelled", self.prompt.id, list(self.answers))


@dataclass(frozen=True)
class Demonstration:
    """A ranked example that the judge is shown; ``answers`` best first.

    ``tau`` and ``chance`` tell how far policy and judge agreed when it was promoted (static ones: 1.0 and 0.0).
    """

    id: str
    question: str
    answers: tuple[str, ...]
    kind: Literal["static", "dynamic"]
    tau: float = 1.0
    chance: float = 0.0
    promoted_round: int | None = None

    @classmethod
    def of(
        cls,
        question: str,
        answers: tuple[str, ...],
        kind: Literal["static", "dynamic"],
        tau: float = 1.0,
        chance: float = 0.0,
        promoted_round: int | None = None,
    ) -> "Demonstration":
        identity = content_id("demonstration", kind, question, list(answers))
        return cls(identity, question, answers, kind, tau, chance, promoted_round)


@dataclass(frozen=True)
class Template:
    """The text of a template file and its hash: the version that a judge call says it used."""

    name: str
    text: str

    @property
    def hash(self) -> str:
        return content_id("template", self.text)
