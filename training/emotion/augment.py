"""Rows made by templates: negation, degree, emphasis, emoji, plain facts.

Their words and frames are not those of the probe sets: what a probe measures was not learnt by heart.
"""

import random

from training.emotion.corpora import NEUTRAL, WONDER_AT, Row
from training.emotion.facts import facts
from triptych.engines.emotion.tokens import Lexicon

JOY, LOVE, SADNESS, ANGER, FEAR, SURPRISE = range(6)
WEIGHT = 0.5
DENIED_WEIGHT = 1.0
DIMENSION_WEIGHT = 0.3

ADJECTIVES = {
    JOY: "happy glad delighted pleased excited thrilled proud grateful relieved amused cheerful optimistic satisfied "
    "joyful hopeful thankful content ecstatic impressed enthusiastic",
    SADNESS: "sad unhappy depressed disappointed heartbroken miserable lonely upset devastated gloomy ashamed "
    "embarrassed hopeless sorrowful crushed discouraged regretful",
    ANGER: "angry mad furious annoyed irritated outraged disgusted bitter frustrated enraged livid resentful",
    FEAR: "scared afraid terrified anxious worried nervous frightened alarmed fearful uneasy panicked",
    SURPRISE: "surprised shocked confused amazed astonished curious puzzled stunned baffled startled intrigued",
}
VERBS = {
    LOVE: "love adore cherish treasure worship",
    JOY: "enjoy like appreciate admire celebrate",
    ANGER: "hate despise detest resent loathe",
    FEAR: "fear dread",
    SADNESS: "regret mourn miss",
}
THINGS = {
    JOY: "great wonderful amazing fantastic excellent beautiful brilliant lovely awesome good fun funny perfect nice",
    ANGER: "disgusting outrageous infuriating annoying awful stupid unacceptable horrible gross rude unfair",
    SADNESS: "sad tragic depressing heartbreaking disappointing unfortunate painful",
    FEAR: "scary terrifying frightening creepy worrying dangerous",
    SURPRISE: "surprising shocking confusing unexpected strange weird unbelievable",
}
OBJECTS = (
    "it", "this", "that", "the movie", "the result", "my job", "the news", "the new phone", "their plan", "the food",
    "this song", "the weather", "what happened", "the way it ended", "his answer", "her idea", "the game", "the trip",
    "our team", "this place", "the update", "the meeting", "the exam", "the house", "my life", "the decision",
)  # fmt: skip
PEOPLE = (
    "I", "I", "I", "we", "they", "she", "he", "my brother", "my mother", "the kids", "[NAME]", "everyone", "my boss",
    "the neighbours", "my friend", "the fans",
)  # fmt: skip
TAILS = (
    "",
    "",
    "",
    ".",
    "!",
    " today.",
    " right now",
    " at the moment.",
    " this morning",
    ", honestly.",
    " lol",
)

# What is left when a feeling is denied: label -> share.
DENIED: dict[int, dict[int, float]] = {
    JOY: {JOY: 0.03, SADNESS: 0.4, ANGER: 0.2, NEUTRAL: 0.35},
    LOVE: {LOVE: 0.03, JOY: 0.03, ANGER: 0.3, SADNESS: 0.15, NEUTRAL: 0.45},
    SADNESS: {SADNESS: 0.06, JOY: 0.35, NEUTRAL: 0.55},
    ANGER: {ANGER: 0.06, JOY: 0.2, NEUTRAL: 0.65},
    FEAR: {FEAR: 0.06, JOY: 0.25, NEUTRAL: 0.6},
    SURPRISE: {SURPRISE: 0.07, NEUTRAL: 0.75},
}
VALENCE = {JOY: 0.35, LOVE: 0.38, SADNESS: -0.35, ANGER: -0.35, FEAR: -0.28, SURPRISE: 0.0}
AROUSAL = {JOY: 0.58, LOVE: 0.56, SADNESS: 0.52, ANGER: 0.6, FEAR: 0.6, SURPRISE: 0.58}
DENIED_VALENCE = {JOY: -0.2, LOVE: -0.15, SADNESS: 0.12, ANGER: 0.06, FEAR: 0.1, SURPRISE: 0.0}

EMOJI = {
    JOY: "😀😃😄😁😆😂🤣😊🙂😎🥳🎉👏👍🙌😋🤩💯😇🏆✨",
    LOVE: "❤♥😍🥰😘💕💖💗💜💙💚🧡💛😻💞💓🤗",
    SADNESS: "😢😭😞😔☹🙁😥😓💔😪😿🥺😟😩",
    ANGER: "😠😡🤬👿🖕😤💢🙄😒🤮🤢👎",
    FEAR: "😱😨😰😧😖🫣",
    SURPRISE: "😮😯😲🤯😳🤔😕🤨❓",
}
EMOTICONS = {JOY: (":)", ":D", ":-)", "=)", "xD", "^_^"), LOVE: ("<3", "<3 <3"), SADNESS: (":(", ":'(", ":-(", "T_T"),
             SURPRISE: (":o", ":O", "o_O"), ANGER: (">:(",)}  # fmt: skip


def name_pool(lexicon: Lexicon) -> list[str]:
    return sorted(lexicon.names)


def rows(generator: random.Random) -> list[Row]:
    found: list[Row] = []
    for _ in range(2):
        found += _adjectives(generator) + _verbs(generator) + _things(generator)
    return found + _emoji(generator) + [_plain(fact) for fact in facts(generator)]


def _row(text: str, scores: dict[int, float], valence: float, arousal: float) -> Row:
    wanted = [scores.get(i, 0.01) for i in range(8)]
    weight = DENIED_WEIGHT if scores in DENIED.values() else WEIGHT
    return Row(text, wanted, [], valence, arousal, weight, DIMENSION_WEIGHT)


def emphasised(rows: list[Row], generator: random.Random, count: int = 3000) -> list[Row]:
    """Copies of short rows with one emotion, shouted, drawn out or with more signs: the same emotion, and surely."""
    short = [
        r for r in rows if r.scores and r.scores[NEUTRAL] == 0 and sum(r.scores[:6]) == 1 and len(r.text) < 60
    ]
    found = []
    for row in generator.sample(short, min(count, len(short))):
        assert row.scores
        wanted = [0.995 if score else 0.0 for score in row.scores]
        found.append(Row(emphasise(row.text, generator), wanted, row.fine, None, None, WEIGHT))
    return found


def emphasise(text: str, generator: random.Random) -> str:
    way = generator.randrange(4)
    if way == 0 and "[" not in text:
        return text.upper()
    if way == 1:
        return text.rstrip(".! ") + "!" * generator.randint(2, 5)
    words = text.split()
    at = generator.randrange(len(words))
    if "[" in words[at]:
        return text + "!!!"
    if way == 2:
        words[at] = words[at].upper()
        return " ".join(words) + "!!"
    vowels = [i for i, c in enumerate(words[at]) if c in "aeiouyhm"]
    if vowels:
        i = generator.choice(vowels)
        words[at] = words[at][:i] + words[at][i] * generator.randint(3, 6) + words[at][i + 1 :]
    return " ".join(words)


def fragments(texts: list[str], generator: random.Random) -> list[str]:
    """Three new texts of each: a run of its words, its beginning with the end of another, and most of its words."""
    found = []
    for text in texts:
        words, others = text.split(), generator.choice(texts).split()
        length = generator.randint(min(4, len(words)), max(4, min(20, len(words))))
        start = generator.randint(0, max(0, len(words) - length))
        found.append(" ".join(words[start : start + length]))
        joined = words[: max(1, len(words) // 2)][:15] + others[len(others) // 2 :][:15]
        found.append(" ".join(joined))
        found.append(" ".join([w for w in words[:30] if generator.random() < 0.75] or words[:1]))
    return found


def _plain(text: str) -> Row:
    return _row(text, {NEUTRAL: 0.97}, 0.0, 0.47)


def _felt(label: int, strength: float = 0.88) -> dict[int, float]:
    scores = {label: strength, NEUTRAL: 0.9 - 0.88 * strength}
    if label == SURPRISE:
        scores[WONDER_AT] = strength
    return scores


def _sentence(text: str, generator: random.Random) -> str:
    text = text.replace("i am ", "I am ").strip()
    if generator.random() < 0.75:
        text = text[0].upper() + text[1:]
    return text


def _be(person: str, past: bool, denied: bool) -> str:
    plural = person in ("we", "they", "the kids", "the neighbours", "the fans")
    verb = ("were" if plural else "was") if past else ("are" if plural else "am" if person == "I" else "is")
    if not denied:
        return verb
    return f"{verb} not" if verb == "am" else verb + "n't"


def _adjectives(generator: random.Random) -> list[Row]:
    found = []
    for label, words in ADJECTIVES.items():
        for word in words.split():
            for _ in range(5):
                who, past = generator.choice(PEOPLE), generator.random() < 0.4
                about = generator.choice(
                    ("", "", f" about {generator.choice(OBJECTS)}", f" with {generator.choice(OBJECTS)}")
                )
                tail = generator.choice(TAILS)
                found.append(_row(_sentence(f"{who} {_be(who, past, False)} {word}{about}{tail}", generator),
                                  _felt(label), VALENCE[label], AROUSAL[label]))  # fmt: skip
                denials = (
                    f"{who} {_be(who, past, True)} {generator.choice(('', '', 'very ', 'really ', 'at all ', 'even '))}{word}{about}",
                    f"{who} {_be(who, past, True)} {word}{about} at all",
                    f"I don't feel {word}{about}",
                    f"I have never been {word}{about}",
                    f"not {word}{about}",
                    f"nobody here is {word}{about}",
                    f"{who} {_be(who, past, False)} no longer {word}{about}",
                    f"I can't say I'm {word}{about}",
                    f"that doesn't make me {word}",
                    f"there is no reason to be {word}{about}",
                )
                found += [
                    _row(_sentence(text + tail, generator), DENIED[label], DENIED_VALENCE[label], 0.5)
                    for text in generator.sample(denials, 3)
                ]
                loud = emphasise(f"{who} {_be(who, past, False)} {word}{about}", generator)
                found.append(_row(loud, _felt(label, 0.99), 1.25 * VALENCE[label], AROUSAL[label] + 0.05))
                found.append(_row(_sentence(f"{who} {_be(who, past, False)} {generator.choice(('slightly', 'a bit', 'somewhat', 'a little', 'mildly'))} {word}{about}{tail}", generator),
                                  _felt(label, 0.62), 0.5 * VALENCE[label], AROUSAL[label] - 0.05))  # fmt: skip
                found.append(_row(_sentence(f"{who} {_be(who, past, False)} {generator.choice(('extremely', 'so', 'incredibly', 'absolutely', 'very', 'so so'))} {word}{about}{tail}", generator),
                                  _felt(label, 0.99), 1.25 * VALENCE[label], AROUSAL[label] + 0.05))  # fmt: skip
    return found


def _verbs(generator: random.Random) -> list[Row]:
    found = []
    for label, words in VERBS.items():
        for word in words.split():
            for _ in range(10):
                thing, tail = generator.choice(OBJECTS), generator.choice(TAILS)
                found.append(_row(f"I {word} {thing}{tail}", _felt(label), VALENCE[label], AROUSAL[label]))
                text = generator.choice((f"I don't {word} {thing}", f"I didn't {word} {thing}", f"I never {word} {thing}",
                                         f"I do not {word} {thing} at all", f"we don't really {word} {thing}",
                                         f"nobody would {word} {thing}", f"I won't {word} {thing}"))  # fmt: skip
                found.append(_row(text + tail, DENIED[label], DENIED_VALENCE[label], 0.5))
    return found


def _things(generator: random.Random) -> list[Row]:
    found = []
    for label, words in THINGS.items():
        for word in words.split():
            for _ in range(5):
                thing, tail = generator.choice(OBJECTS), generator.choice(TAILS)
                verb = generator.choice((" is", " was"))
                found.append(_row(_sentence(f"{thing}{verb} {word}{tail}", generator), _felt(label, 0.9), VALENCE[label],
                                  AROUSAL[label]))  # fmt: skip
                text = generator.choice((f"{thing}{verb} not {word}", f"{thing}{verb}n't {word} at all", f"{thing}{verb}n't {word}",
                                         f"there is nothing {word} about {thing}", f"I wouldn't call {thing} {word}",
                                         f"{thing} has never been {word}", f"not a {word} thing about {thing}"))  # fmt: skip
                found.append(
                    _row(_sentence(text + tail, generator), DENIED[label], DENIED_VALENCE[label], 0.5)
                )
    return found


def _emoji(generator: random.Random) -> list[Row]:
    found = []
    plain = facts(generator)
    for label, signs in EMOJI.items():
        for sign in list(signs) + list(EMOTICONS.get(label, ())):
            for times in (1, 1, 2, 3):
                found.append(_row(sign * times, _felt(label, 0.85), VALENCE[label], AROUSAL[label]))
                found.append(_row(f"{generator.choice(plain)} {sign * times}", _felt(label, 0.75), 0.8 * VALENCE[label],
                                  AROUSAL[label]))  # fmt: skip
                short = generator.choice(("ok", "home again", "monday", "work today", "just saw it", "so this happened",
                                          "reading your message", "back from the trip", "[NAME] called"))  # fmt: skip
                found.append(
                    _row(f"{short} {sign * times}", _felt(label, 0.8), 0.9 * VALENCE[label], AROUSAL[label])
                )
    return found
