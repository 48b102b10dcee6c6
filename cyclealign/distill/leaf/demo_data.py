"""Demo texts in an invented language: several words per concept, and queries that avoid the words of their answers.

Synonyms do not look alike, so their meaning must be learned. Texts are generated from a seed; nothing is downloaded.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from cyclealign.distill.leaf.data import Corpus, Task

SLOTS, CONCEPTS, SYNONYMS = 6, 12, 3
DOCUMENT_SLOTS, QUERY_SLOTS = 5, 3  # slots that a document fills, and those of them that a query asks for
FILLERS = 40
ONSETS, VOWELS = "bdfgklmnprstvz", "aeiou"


@dataclass(frozen=True)
class DemoSizes:
    """Number of texts of each kind."""

    train_queries: int = 1_500
    train_documents: int = 3_000
    queries: int = 300
    documents: int = 800


Meaning = dict[int, int]  # slot -> concept


class DemoTexts:
    """A generator of queries and documents. The language is always the same; ``seed`` draws the texts."""

    def __init__(self, seed: int) -> None:
        language = random.Random("language")
        syllables = [onset + vowel for onset in ONSETS for vowel in VOWELS]
        meaningful = SLOTS * CONCEPTS * SYNONYMS
        words = language.sample([a + b + c for a in syllables for b in syllables for c in "nrs"], meaningful + FILLERS)
        self.words = tuple(words)
        self._draw = random.Random(f"texts {seed}")
        self._fillers = words[meaningful:]

    def synonyms(self, slot: int, concept: int) -> Sequence[str]:
        """Return the words of one concept."""
        start = (slot * CONCEPTS + concept) * SYNONYMS
        return self.words[start : start + SYNONYMS]

    def meaning(self) -> Meaning:
        """Draw the meaning of a document: one concept for each of some slots."""
        return {slot: self._draw.randrange(CONCEPTS) for slot in self._draw.sample(range(SLOTS), DOCUMENT_SLOTS)}

    def document(self, meaning: Meaning) -> str:
        """Draw a text that expresses the whole meaning, among filler words."""
        return self._text(meaning, 3)

    def query(self, meaning: Meaning) -> tuple[str, Meaning]:
        """Draw a text that asks for a part of the meaning; return it with that part."""
        part = {slot: meaning[slot] for slot in self._draw.sample(sorted(meaning), QUERY_SLOTS)}
        return self._text(part, 1) + " ?", part

    def _text(self, meaning: Meaning, fillers: int) -> str:
        words = [self._draw.choice(self.synonyms(slot, concept)) for slot, concept in meaning.items()]
        words += self._draw.choices(self._fillers, k=fillers)
        self._draw.shuffle(words)
        return " ".join(words)

    def pairs(self, count: int) -> list[tuple[str, str]]:
        """Draw (query, document that answers it), to train the demo teacher on."""
        meanings = [self.meaning() for _ in range(count)]
        return [(self.query(meaning)[0], self.document(meaning)) for meaning in meanings]

    def task(self, queries: int, documents: int) -> Task:
        """Draw queries about some of the documents; every document that expresses the queried part is relevant."""
        meanings = [self.meaning() for _ in range(documents)]
        drawn = [self.query(meaning) for meaning in self._draw.sample(meanings, queries)]
        relevant = [
            {number: 1 for number, meaning in enumerate(meanings) if part.items() <= meaning.items()}
            for _, part in drawn
        ]
        texts = tuple(self.document(meaning) for meaning in meanings)
        return Task(tuple(text for text, _ in drawn), texts, tuple(relevant))


def demo_corpus(seed: int, sizes: DemoSizes | None = None) -> Corpus:
    """Generate training texts and a task; a task text is among the training texts only by coincidence."""
    sizes = sizes or DemoSizes()
    texts = DemoTexts(seed)
    queries = tuple(texts.query(texts.meaning())[0] for _ in range(sizes.train_queries))
    documents = tuple(texts.document(texts.meaning()) for _ in range(sizes.train_documents))
    return Corpus(queries, documents, texts.task(sizes.queries, sizes.documents))
