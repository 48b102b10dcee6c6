"""The demo's world of text: made-up words, where many words mean one thing, and questions use other words than answers.

What is meant can only be learnt: no word looks like its synonyms. Made on the spot from a seed, nothing is downloaded.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from cyclealign.distill.leaf.data import Corpus, Task

SLOTS, CONCEPTS, SYNONYMS = 6, 12, 3
SAID, ASKED = 5, 3  # slots that a document fills, and a question asks for
FILLERS = 40
ONSETS, VOWELS = "bdfgklmnprstvz", "aeiou"


@dataclass(frozen=True)
class Sizes:
    """How many texts there are of each kind."""

    train_queries: int = 1_500
    train_documents: int = 3_000
    queries: int = 300
    documents: int = 800


Meaning = dict[int, int]  # slot -> concept


class World:
    """A language, and texts drawn in it."""

    def __init__(self, seed: int) -> None:
        """The language is always the same; ``seed`` draws the texts."""
        language = random.Random("language")
        syllables = [onset + vowel for onset in ONSETS for vowel in VOWELS]
        spoken = SLOTS * CONCEPTS * SYNONYMS
        made = language.sample([a + b + c for a in syllables for b in syllables for c in "nrs"], spoken + FILLERS)
        self.words = tuple(made)
        self._draw = random.Random(f"texts {seed}")
        self._fillers = made[spoken:]

    def synonyms(self, slot: int, concept: int) -> Sequence[str]:
        """The words of one concept."""
        start = (slot * CONCEPTS + concept) * SYNONYMS
        return self.words[start : start + SYNONYMS]

    def meaning(self) -> Meaning:
        """What a document says: a concept in each of some slots."""
        return {slot: self._draw.randrange(CONCEPTS) for slot in self._draw.sample(range(SLOTS), SAID)}

    def document(self, meaning: Meaning) -> str:
        """A text that says all of it, between words that say nothing."""
        return self._text(meaning, 3)

    def question(self, meaning: Meaning) -> tuple[str, Meaning]:
        """A text that asks for a part of it, and that part."""
        asked = {slot: meaning[slot] for slot in self._draw.sample(sorted(meaning), ASKED)}
        return self._text(asked, 1) + " ?", asked

    def _text(self, meaning: Meaning, fillers: int) -> str:
        words = [self._draw.choice(self.synonyms(slot, concept)) for slot, concept in meaning.items()]
        words += self._draw.choices(self._fillers, k=fillers)
        self._draw.shuffle(words)
        return " ".join(words)

    def pairs(self, count: int) -> list[tuple[str, str]]:
        """(question, document that answers it), for the teacher's own training."""
        meanings = [self.meaning() for _ in range(count)]
        return [(self.question(meaning)[0], self.document(meaning)) for meaning in meanings]

    def task(self, queries: int, documents: int) -> Task:
        """Questions about some of the documents; every document that says what is asked for is relevant."""
        meanings = [self.meaning() for _ in range(documents)]
        asked = [self.question(meaning) for meaning in self._draw.sample(meanings, queries)]
        relevant = [
            {number: 1 for number, meaning in enumerate(meanings) if part.items() <= meaning.items()}
            for _, part in asked
        ]
        texts = tuple(self.document(meaning) for meaning in meanings)
        return Task(tuple(text for text, _ in asked), texts, tuple(relevant))


def demo_material(seed: int, sizes: Sizes | None = None) -> Corpus:
    """Training texts and a task, of which no text is trained on but by chance."""
    sizes = sizes or Sizes()
    world = World(seed)
    queries = tuple(world.question(world.meaning())[0] for _ in range(sizes.train_queries))
    documents = tuple(world.document(world.meaning()) for _ in range(sizes.train_documents))
    return Corpus(queries, documents, world.task(sizes.queries, sizes.documents))
