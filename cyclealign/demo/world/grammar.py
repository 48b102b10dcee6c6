"""Generate answers of the demo world: an opening, a body of varying quality, a closing."""

import random
from collections.abc import Callable, Mapping

from cyclealign.demo.world.topics import Topic, siblings, topics

MIN_WORDS, MAX_WORDS = 10, 30

Weights = Mapping[str, float]

POLITE = ("Of course, happy to help.", "Thank you for asking.", "Sure, with pleasure.", "What a nice question.")
REGRET = ("I am sorry.", "Thank you for asking, but no.", "Sorry to disappoint you.")
RUDE = ("Not this again.", "Even a child knows that.", "Ugh, if you must know.", "Stop wasting my time.")
IDLE = ("So, well, let me see.", "Okay, so here we go.")
OFFERS = (
    "Let me know if you would like more detail.",
    "Feel free to ask if anything is unclear.",
    "Tell me how it goes and I will gladly suggest more.",
)
FILLER = (
    "And that is how it is, and that is how it is, and so on and so on.",
    "As I said, it is as it is, as I said, it is as it is.",
    "There is more to say about it and more to say about it and more.",
)
BOASTS = ("This is the best and most complete answer that anyone could give.",)
DISMISSALS = ("Now leave me alone.", "Do not ask me again.")

TASK_FRAMES = {
    2: (
        "For {thing}, {a}, and {b}.",
        "With {thing} it works best to {a} and then {b}.",
        "Two things help with {thing}: {a}, and {b}.",
    ),
    1: ("For {thing}, {a}.", "With {thing} it helps to {a}.", "When it comes to {thing}, {a}."),
}
QUESTION_FRAMES = {
    2: (
        "As for {thing}, {a}, and {b}.",
        "The story behind {thing} is that {a}, and {b}.",
        "Two facts explain {thing}: {a}, and {b}.",
    ),
    1: ("As for {thing}, {a}.", "The story behind {thing} is that {a}.", "About {thing} we know that {a}."),
}
VAGUE = (
    "There are many ways to think about {thing}, and it all depends.",
    "People do various things about {thing}, and most of them work somehow.",
    "Opinions on {thing} differ, and every case is a little different.",
)
TIMID = (
    "I cannot help with {thing}, because it might be dangerous.",
    "I will not give any advice on {thing}, as something could go wrong.",
)
REFUSALS = ("I cannot help with that, because {reason}.", "I will not help you do this, because {reason}.")
ALTERNATIVES = ("You could {instead} instead.", "A kinder idea is to {instead}.", "Why not {instead}?")
CURT = ("No, I will not help with that.", "That is wrong, and I cannot help.")
EVASIVE = (
    "There are many ways to see this, and it all depends on the people.",
    "That is a wide field, and everyone handles it somehow.",
)
COMPLIANCE = (
    "The easy way is to {carrying_out}.",
    "Just {carrying_out}, and nobody will notice.",
    "It works best to {carrying_out}, so pick a quiet moment.",
)
SCOLDING = ("Only a bad person asks for this, and you should be ashamed.",)

# Relative frequencies. They make the base model's answers vary: mostly harmless, often unhelpful, sometimes good.
HARMLESS_BODIES: Weights = {"full": 36, "brief": 32, "mixed_up": 5, "off_topic": 5, "vague": 13, "timid": 9}
HARMFUL_BODIES: Weights = {
    "kind": 30,
    "refusal": 18,
    "curt": 12,
    "evasive": 12,
    "complying": 22,
    "scolding": 3,
    "off_topic": 4,
}
OPENINGS: Weights = {"polite": 38, "none": 36, "idle": 13, "rude": 13}
CLOSINGS: Weights = {"offer": 34, "none": 36, "filler": 14, "boast": 8, "dismissal": 8}

REFUSING = frozenset({"timid", "kind", "refusal", "curt", "scolding"})


def answer(topic: Topic, draw: random.Random) -> str:
    """Return one answer of random quality, 10 to 30 words long."""
    while True:
        body = _pick(HARMFUL_BODIES if topic.harmful else HARMLESS_BODIES, draw)
        parts = (_opening(body in REFUSING, draw), _body(body, topic, draw), _closing(draw))
        text = " ".join(part for part in parts if part)
        if MIN_WORDS <= len(text.split()) <= MAX_WORDS:
            return text


def _pick(weights: Weights, draw: random.Random) -> str:
    return draw.choices(list(weights), list(weights.values()))[0]


def _opening(refusing: bool, draw: random.Random) -> str:
    phrases = {"polite": REGRET if refusing else POLITE, "none": ("",), "idle": IDLE, "rude": RUDE}
    return draw.choice(phrases[_pick(OPENINGS, draw)])


def _closing(draw: random.Random) -> str:
    phrases = {"offer": OFFERS, "none": ("",), "filler": FILLER, "boast": BOASTS, "dismissal": DISMISSALS}
    return draw.choice(phrases[_pick(CLOSINGS, draw)])


def _body(name: str, topic: Topic, draw: random.Random) -> str:
    if name == "mixed_up":
        other = draw.choice([sibling for sibling in siblings(topic.kind) if sibling != topic])
        return _advice(topic, other.advice, draw)
    if name == "off_topic":
        other = draw.choice([topic_ for topic_ in topics() if topic_.kind != topic.kind and not topic_.harmful])
        return _advice(other, other.advice, draw)
    return BODIES[name](topic, draw)


def _full(topic: Topic, draw: random.Random) -> str:
    return _frames(topic, 2, draw).format(thing=topic.thing, a=topic.advice[0], b=topic.advice[1])


def _brief(topic: Topic, draw: random.Random) -> str:
    return _frames(topic, 1, draw).format(thing=topic.thing, a=draw.choice(topic.advice))


def _advice(about: Topic, advice: tuple[str, ...], draw: random.Random) -> str:
    """Return advice in one or two steps about a topic's thing; the advice may be of another topic."""
    first, second = advice
    return _frames(about, draw.choice((1, 2)), draw).format(thing=about.thing, a=first, b=second)


def _frames(topic: Topic, steps: int, draw: random.Random) -> str:
    return draw.choice((QUESTION_FRAMES if topic.sort == "question" else TASK_FRAMES)[steps])


def _kind(topic: Topic, draw: random.Random) -> str:
    refusal = draw.choice(REFUSALS).format(reason=topic.reason)
    return f"{refusal} {draw.choice(ALTERNATIVES).format(instead=topic.instead)}"


def _filled(frames: tuple[str, ...]) -> Callable[[Topic, random.Random], str]:
    def fill(topic: Topic, draw: random.Random) -> str:
        return draw.choice(frames).format(thing=topic.thing, reason=topic.reason, carrying_out=topic.carrying_out)

    return fill


BODIES: Mapping[str, Callable[[Topic, random.Random], str]] = {
    "full": _full,
    "brief": _brief,
    "vague": _filled(VAGUE),
    "timid": _filled(TIMID),
    "kind": _kind,
    "refusal": _filled(REFUSALS),
    "curt": _filled(CURT),
    "evasive": _filled(EVASIVE),
    "complying": _filled(COMPLIANCE),
    "scolding": _filled(SCOLDING),
}


def all_sentences() -> list[str]:
    """Return all sentences of answers, each topic with its own details only."""
    general = (*POLITE, *REGRET, *RUDE, *IDLE, *OFFERS, *FILLER, *BOASTS, *DISMISSALS)
    bodies = (*CURT, *EVASIVE, *SCOLDING, *(text for topic in topics() for text in _sentences_about(topic)))
    return [*general, *bodies]


def _sentences_about(topic: Topic) -> list[str]:
    if topic.harmful:
        frames = (*REFUSALS, *ALTERNATIVES, *COMPLIANCE)
        fields = {"reason": topic.reason, "instead": topic.instead, "carrying_out": topic.carrying_out}
        return [frame.format(**fields) for frame in frames]
    advice = QUESTION_FRAMES if topic.sort == "question" else TASK_FRAMES
    first, second = topic.advice
    pairs = [frame.format(thing=topic.thing, a=first, b=second) for frame in advice[2]]
    single = [frame.format(thing=topic.thing, a=step) for frame in advice[1] for step in topic.advice]
    return [*pairs, *single, *(frame.format(thing=topic.thing) for frame in (*VAGUE, *TIMID))]
