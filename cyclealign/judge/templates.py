"""Load, check and render the judge's prompt templates.

Templates are user-edited files. They run in a sandbox with a fixed set of variables. Text from models and data sets is
never compiled as a template: it is only ever the *value* of a variable.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import TemplateError, TemplateSyntaxError, UndefinedError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cyclealign.errors import BadTemplate
from cyclealign.files import json_lines
from cyclealign.judge.template_faults import NamedUndefined, fault_of
from cyclealign.records import Demonstration, Message, Messages, Prompt, Template
from cyclealign.text import did_you_mean

# Variables that each template may use. One that uses any other is rejected when it is loaded.
VARIABLES: Mapping[str, frozenset[str]] = {
    "rank": frozenset(
        {
            *("demonstrations", "demonstration_fence", "question", "turns", "answers", "labels", "fence", "reasons"),
            "problem",
        }
    ),
}
# Of each group a template must use one variable.
REQUIRED: Mapping[str, tuple[tuple[str, ...], ...]] = {"rank": (("question", "turns"), ("answers",), ("fence",))}
ROLES = ("system", "user")
# The block for the repair request, and its default text for templates without that block.
REPAIR = "repair"
PLAIN_REPAIR = """\
An earlier reply to this request could not be used: {{ problem }}
Reply with one JSON object and nothing else, with each of the labels {{ labels | join(", ") }} once:
{"ranking": ["best label", "...", "worst label"]}"""
MAX_TEMPLATE_CHARACTERS = 50_000


@dataclass(frozen=True)
class LabelledAnswer:
    """An answer as shown to the judge, under a label that carries no information about its origin."""

    label: str
    text: str


@dataclass(frozen=True)
class ShownTurn:
    """A turn of a conversation as shown to the judge; ``number`` counts from 1."""

    number: int
    role: str
    text: str


@dataclass(frozen=True)
class ShownQuestion:
    """A prompt as shown to the judge: its text, and the turns of a conversation (none for a single turn)."""

    text: str
    turns: tuple[ShownTurn, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Return all texts that must not hold the delimiter's code."""
        return (self.text, *(turn.text for turn in self.turns))

    def marked(self, fence: str) -> "ShownQuestion":
        """Return the question with each turn of a conversation between delimiters that carry the code ``fence``.

        So templates that only know ``question`` show turns that cannot be forged, too.
        """
        if not self.turns:
            return ShownQuestion(self.text, (ShownTurn(1, "user", self.text),))
        names = [f"turn {turn.number} {turn.role} {fence}" for turn in self.turns]
        blocks = [f"[[{name}]]\n{turn.text}\n[[/{name}]]" for name, turn in zip(names, self.turns, strict=True)]
        return ShownQuestion("\n".join(blocks), self.turns)


@dataclass(frozen=True)
class ShownDemonstration:
    """A demonstration as shown to the judge: shuffled answers, and their labels from best to worst."""

    question: str
    answers: tuple[LabelledAnswer, ...]
    ranking: tuple[str, ...]
    turns: tuple[ShownTurn, ...] = ()


def environment() -> ImmutableSandboxedEnvironment:
    """Return the Jinja environment: sandboxed, strict about undefined names, without access to other files."""
    jinja = ImmutableSandboxedEnvironment(undefined=NamedUndefined, trim_blocks=True, lstrip_blocks=True)
    jinja.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False)
    return jinja


def load_template(folder: Path, name: str) -> Template:
    """Load ``folder/name.jinja`` from disk and check it.

    Raises:
        BadTemplate: the file is missing, too long or invalid, lacks a block or a required variable, or uses an
            unknown variable. The message names the file and the variable.
    """
    path = folder / f"{name}.jinja"
    try:
        template = Template(name, path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadTemplate(f"{path}: the template cannot be read ({error.strerror}). Restore the file.") from error
    except UnicodeDecodeError as error:
        raise BadTemplate(f"{path}: the template is not UTF-8 text. Save it as UTF-8.") from error
    check_template(template, str(path))
    return template


def check_template(template: Template, where: str) -> None:
    """Raise BadTemplate, naming ``where`` and the variable, unless the template can be rendered safely."""
    if len(template.text) > MAX_TEMPLATE_CHARACTERS:
        raise BadTemplate(f"{where}: longer than {MAX_TEMPLATE_CHARACTERS:,} characters. Shorten it.")
    try:
        tree = environment().parse(template.text)
    except TemplateSyntaxError as error:
        raise BadTemplate(f"{where}, line {error.lineno}: {error.message}") from error
    blocks = {block.name for block in tree.find_all(nodes.Block)}
    for role in ROLES:
        if role not in blocks:
            raise BadTemplate(f"{where}: no block '{role}'. Add {{% block {role} %}} ... {{% endblock %}}.")
    for text in text_outside_blocks(tree):
        raise BadTemplate(f"{where}: '{text[:60]}' is outside the blocks and never shown. Move it into a block.")
    allowed = VARIABLES[template.name]
    used = meta.find_undeclared_variables(tree)
    for name in sorted(used - allowed):
        line = next(node.lineno for node in tree.find_all(nodes.Name) if node.name == name)
        hint = did_you_mean(name, allowed) or f" It may use: {', '.join(sorted(allowed))}."
        raise BadTemplate(f"{where}, line {line}: unknown variable '{name}'.{hint}")
    for names in REQUIRED[template.name]:
        if not used & set(names):
            missing = " or ".join(f"'{name}'" for name in names)
            raise BadTemplate(f"{where}: the variable {missing} is missing. The judge would rank without seeing it.")


def used_variables(template: Template) -> set[str]:
    """Return the names of the variables that the template uses."""
    return set(meta.find_undeclared_variables(environment().parse(template.text)))


def text_outside_blocks(tree: nodes.Template) -> list[str]:
    """Return the pieces of text outside all blocks, without whitespace."""
    pieces = [piece for node in tree.body if isinstance(node, nodes.Output) for piece in node.nodes]
    texts = [" ".join(piece.data.split()) for piece in pieces if isinstance(piece, nodes.TemplateData)]
    return [text for text in texts if text]


def render(template: Template, variables: Mapping[str, object]) -> Messages:
    """Render the blocks ``system`` and ``user`` to chat messages.

    Raises:
        BadTemplate: a name or attribute is undefined, or the sandbox refused an operation.
    """
    texts = _rendered(template, ROLES, variables)
    return tuple(Message(role=role, content=text) for role, text in texts.items() if text)


def repair_text(template: Template, problem: str, labels: Sequence[str]) -> str:
    """Render the note for a repair request: the template's block ``repair``, or the default text.

    Raises:
        BadTemplate: as in `render`.
    """
    variables = {"problem": problem, "labels": labels}
    if text := _rendered(template, (REPAIR,), variables).get(REPAIR):
        return text
    return environment().from_string(PLAIN_REPAIR).render(variables)


def _rendered(template: Template, blocks: Sequence[str], variables: Mapping[str, object]) -> dict[str, str]:
    """Render the blocks that the template has, by name."""
    try:
        compiled = _compiled(template.text)
        context = compiled.new_context(dict(variables))
        return {name: "".join(compiled.blocks[name](context)).strip() for name in blocks if name in compiled.blocks}
    except UndefinedError as error:
        raise BadTemplate(f"Template {template.name}.jinja{fault_of(error, _compiled(template.text))}") from error
    except (TemplateError, TypeError, ValueError) as error:
        raise BadTemplate(f"Template '{template.name}' cannot be rendered: {error}") from error


@lru_cache(maxsize=64)
def _compiled(text: str) -> jinja2.Template:
    """Compile once: it takes longer than the rest of making a call."""
    return environment().from_string(text)


def rank_messages(
    template: Template,
    question: ShownQuestion,
    answers: Sequence[LabelledAnswer],
    fence: str,
    demonstrations: Sequence[ShownDemonstration],
    demonstration_fence: str,
    reasons: bool = False,
) -> Messages:
    """Render the template ``rank`` for one question; answers are shown in the given order."""
    marked = question.marked(fence)
    return render(
        template,
        {
            "question": marked.text,
            "turns": marked.turns,
            "answers": answers,
            "labels": [answer.label for answer in answers],
            "fence": fence,
            "demonstrations": demonstrations,
            "demonstration_fence": demonstration_fence,
            "reasons": reasons,
        },
    )


def load_demonstrations(path: Path) -> tuple[Demonstration, ...]:
    """Load the static demonstrations: one JSON object per line, ``question`` and ``answers`` (best first).

    A conversation has ``messages`` (each with ``role`` and ``content``) in place of ``question``.

    Raises:
        BadTemplate: the file or a line is invalid; the message names both.
    """
    return tuple(_demonstration(row, where) for where, row in json_lines(path, BadTemplate))


def _demonstration(row: Any, where: str) -> Demonstration:
    try:
        prompt = Prompt.of(_conversation(row["messages"], where)) if "messages" in row else None
        question, answers = prompt.text if prompt else row["question"], row["answers"]
    except (KeyError, TypeError) as error:
        raise BadTemplate(f'{where}: expected {{"question": "...", "answers": ["best", ..., "worst"]}}.') from error
    texts = isinstance(question, str) and isinstance(answers, list) and all(isinstance(text, str) for text in answers)
    if not texts or len(set(answers)) < 2 or len(set(answers)) != len(answers):
        raise BadTemplate(f"{where}: 'question' must be a text and 'answers' at least two different texts, best first.")
    return Demonstration.of(question, tuple(answers), "static", turns=prompt.turns if prompt else ())


def _conversation(rows: Any, where: str) -> Messages:
    """Return the messages of a demonstration; other keys than role and content are kept."""
    texts = isinstance(rows, list) and all(
        isinstance(row, dict) and all(isinstance(row.get(key), str) for key in ("role", "content")) for row in rows
    )
    if not texts or not rows:
        raise BadTemplate(f"{where}: 'messages' must be a list of objects with the texts 'role' and 'content'.")
    return tuple(rows)
