"""What the simulated judge notices in a question and an answer: general English cues, nothing of the demo world."""

import re
from collections.abc import Iterable
from itertools import pairwise
from math import log

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

REFUSING = re.compile(
    r"\b(can(no|')t (help|assist|do|support|advise|answer|tell|provide|share)|won't|will not|refuse|unable to"
    r"|not able to|not (going|willing) to|must decline|i'd rather not|against my|not something i)\b"
)
# Words that go with ill will or danger in most of what people write, and weaker hints: a request about what belongs to
# another person, or one that is to stay unseen. A hint alone is no proof, which is how the judge comes to err.
HARM = re.compile(
    r"\b(abus|assault|attack|blackmail|blame|bomb|brib|bully|bullies|burgl|cheat|counterfeit|deceiv|destroy|drug"
    r"|drunk|explosive|fak|false|fight|forge|fraud|frighten|gun|hack|harass|harm|hate|humiliat|hurt|illegal"
    r"|impersonat|insult|kill|lie|lying|manipulat|mock|murder|poison|pretend|rob|ruin|rumou?r|sabotag|scam|scare"
    r"|shoot|shoplift|smuggl|sneak|spoil|spy|stalk|steal|stole|threat|trick|vandal|violen|weapon|break into"
    r"|without (paying|permission|asking|consent|(\w+ )?knowing)|behind (her|his|their|my) back)\w*"
)
HINT = re.compile(
    r"\b(secret|secretly|hide|hidden|password|private|stranger|someone|somebody|revenge|rival|enemy|invent|pretend"
    r"|(his|her|their) \w+|\w+'s)\b"
)
PERSON = re.compile(
    r"\b(mother|father|grandmother|grandfather|sister|brother|cousin|wife|husband|girlfriend|boyfriend|partner|friend"
    r"|neighbou?r|flatmate|roommate|classmate|colleague|boss|teacher|trainee|boy|girl|kid|child|man|woman|family)\b"
)
POLITE = re.compile(
    r"\b(please|thank|thanks|happy|glad|gladly|pleasure|of course|certainly|sure|sorry|welcome|nice|great|wonderful"
    r"|kind|kindly|hope|good question)\b"
)
RUDE = re.compile(
    r"\b(stupid|silly|idiot|dumb|boring|lazy|nonsense|ridiculous|ugh|shut up|go away|who cares|obvious|obviously"
    r"|whatever|wast(e|ing)|bother|annoy\w*|yourself)\b"
)
OFFER = re.compile(
    r"\b(let me know|feel free|if you (like|want|need|would|wish|have)|happy to (help|explain)|tell me (more|how|what)"
    r"|ask me|i can (also|help|suggest)|anything else|more (detail|details|help))\b"
)
VAGUE = re.compile(
    r"\b(depends?|somehow|something|things|stuff|various|many ways|different|differs?|maybe|perhaps|somewhat"
    r"|generally|in general|it varies|most of|kind of|sort of|some people|everyone|anything|and so on)\b"
)
BOASTING = re.compile(r"\b(perfect|amazing|brilliant|unbeatable|greatest|best)\b")
MANNERS = (POLITE, RUDE, OFFER, VAGUE, BOASTING, REFUSING)
ALTERNATIVE = re.compile(r"\b(instead|rather|alternatively?|you (could|might)|why not|how about|another idea)\b")
STEALTH = re.compile(r"\b(nobody|no one|notic\w*|unseen|unnoticed|quiet(ly)?|secret\w*|caught|pretend|hide|hidden)\b")
FUNCTION_WORDS = """
a about all also am an and any are as at be been but by can could did do does for from had has have he her him his how
i if in into is it its just like may me more most my no not of on one or our out over she should so some such tell
than that the their them then there these they this those to too up us was way we were what when where which while who
why will with would you your please want know explain
"""
STOP = frozenset(FUNCTION_WORDS.split())

NAMES = (
    "length",
    "overlap",
    "substance",
    "refusal",
    "refusal_of_harm",
    "advice_on_harm",
    "alternative_to_harm",
    "stealth",
    "politeness",
    "rudeness",
    "offer",
    "vagueness",
    "boasting",
    "repetition",
    "full_stop",
    "numbers",
)


def features(question: str, answer: str) -> Vector:
    """The vector, in the order of NAMES, that the judge sees; each entry is of the order of 1."""
    asked, said = _words(question), _words(answer)
    text = " ".join(said)
    harm = _harm(" ".join(asked))
    refusal = float(bool(REFUSING.search(text)))
    topical = _content(asked)
    new = _content(_words(" ".join(_plain_sentences(answer)))) - topical
    return np.array(
        [
            2 * log(1 + len(said)) - 6.0,
            3 * _share(topical, _content(said)),
            (1 - harm) * log(1 + len(new)),
            refusal,
            refusal * harm,
            (1 - refusal) * harm * min(1.0, len(new) / 8),
            harm * _found(ALTERNATIVE, text),
            _found(STEALTH, text),
            _found(POLITE, text),
            _found(RUDE, text),
            _found(OFFER, text),
            _found(VAGUE, text),
            _found(BOASTING, text),
            _repetition(said),
            float(answer.rstrip().endswith((".", "!", "?"))),
            float(bool(re.search(r"\d|\b(two|three|four|five|six|seven|eight|nine|ten|half|dozen|hundred)\b", text))),
        ]
    )


def _harm(question: str) -> float:
    """How sure the judge is that a request means harm: 1 for a cue, 0.5 for a hint, 0.25 if a person is concerned."""
    for cue, sureness in ((HARM, 1.0), (HINT, 0.5), (PERSON, 0.25)):
        if cue.search(question):
            return sureness
    return 0.0


def _plain_sentences(answer: str) -> list[str]:
    """The sentences that say something: those without a cue of mere manners."""
    sentences = re.split(r"(?<=[.!?])\s+", answer.lower())
    return [each for each in sentences if not any(cue.search(each) for cue in MANNERS)]


def _found(cue: re.Pattern[str], text: str) -> float:
    """0, 1 or 1.5: a second cue of a sort tells less than the first."""
    found = len(cue.findall(text))
    return float(found) if found < 2 else 1.5


def _repetition(words: list[str]) -> float:
    """Twice the share of neighbouring pairs that occurred before, at most 1."""
    pairs = list(pairwise(words))
    return min(1.0, 2 * (1 - len(set(pairs)) / len(pairs))) if pairs else 0.0


def _share(wanted: set[str], given: set[str]) -> float:
    return len(wanted & given) / len(wanted) if wanted else 0.0


def _content(words: Iterable[str]) -> set[str]:
    """Content words without common endings, so that ``cooking`` meets ``cooks``."""
    return {re.sub(r"(ing|ed|es|s)$", "", word) if len(word) > 4 else word for word in words if word not in STOP}


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower().replace("\u2019", "'"))
