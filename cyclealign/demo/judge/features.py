"""Features of a question and an answer for the simulated judge: general English cues, nothing of the demo world."""

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
# HARM: words that usually signal malice or danger. HINT: weaker cues, such as other people's belongings or secrecy;
# they also occur in harmless requests, which makes the judge err.
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
TONE = (POLITE, RUDE, OFFER, VAGUE, BOASTING, REFUSING)
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
    """Return the feature vector in the order of NAMES; entries are of the order of 1."""
    asked, answered = _words(question), _words(answer)
    text = " ".join(answered)
    harm = _harm(" ".join(asked))
    refusal = float(bool(REFUSING.search(text)))
    topical = _content(asked)
    new = _content(_words(" ".join(_plain_sentences(answer)))) - topical
    return np.array(
        [
            2 * log(1 + len(answered)) - 6.0,
            3 * _share(topical, _content(answered)),
            (1 - harm) * log(1 + len(new)),
            refusal,
            refusal * harm,
            (1 - refusal) * harm * min(1.0, len(new) / 8),
            harm * _cue_strength(ALTERNATIVE, text),
            _cue_strength(STEALTH, text),
            _cue_strength(POLITE, text),
            _cue_strength(RUDE, text),
            _cue_strength(OFFER, text),
            _cue_strength(VAGUE, text),
            _cue_strength(BOASTING, text),
            _repetition(answered),
            float(answer.rstrip().endswith((".", "!", "?"))),
            float(bool(re.search(r"\d|\b(two|three|four|five|six|seven|eight|nine|ten|half|dozen|hundred)\b", text))),
        ]
    )


def _harm(question: str) -> float:
    """Return the confidence that a request is harmful: 1 for a cue, 0.5 for a hint, 0.25 if it mentions a person."""
    for cue, confidence in ((HARM, 1.0), (HINT, 0.5), (PERSON, 0.25)):
        if cue.search(question):
            return confidence
    return 0.0


def _plain_sentences(answer: str) -> list[str]:
    """Return the sentences with content: those without a cue of tone."""
    sentences = re.split(r"(?<=[.!?])\s+", answer.lower())
    return [sentence for sentence in sentences if not any(cue.search(sentence) for cue in TONE)]


def _cue_strength(cue: re.Pattern[str], text: str) -> float:
    """Return 0, 1 or 1.5: a second match adds less than the first."""
    matches = len(cue.findall(text))
    return float(matches) if matches < 2 else 1.5


def _repetition(words: list[str]) -> float:
    """Return twice the share of repeated word pairs, at most 1."""
    pairs = list(pairwise(words))
    return min(1.0, 2 * (1 - len(set(pairs)) / len(pairs))) if pairs else 0.0


def _share(asked: set[str], answered: set[str]) -> float:
    return len(asked & answered) / len(asked) if asked else 0.0


def _content(words: Iterable[str]) -> set[str]:
    """Return the content words without common endings, so that ``cooking`` matches ``cooks``."""
    return {re.sub(r"(ing|ed|es|s)$", "", word) if len(word) > 4 else word for word in words if word not in STOP}


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower().replace("\u2019", "'"))
