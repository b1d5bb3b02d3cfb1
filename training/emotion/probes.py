"""Small sets of texts that ask one question each. None of their sentences is trained on."""

from collections.abc import Callable, Sequence
from typing import Protocol

from triptych.core.emotion import LABELS, Emotion


class Scorer(Protocol):
    def score(self, texts: Sequence[str]) -> list[Emotion]: ...


_NEGATIONS = {
    "joy": (
        ("I am happy with how the day went", "I am not happy with how the day went"),
        ("My sister felt glad to be back", "My sister did not feel glad to be back"),
        ("The concert was wonderful", "The concert was not wonderful"),
        ("We had fun at the lake", "We didn't have any fun at the lake"),
        ("I'm excited to start on Monday", "I'm not excited to start on Monday"),
        ("He is proud of the work he did", "He isn't proud of the work he did"),
        ("They were thrilled to see the garden", "They weren't thrilled to see the garden"),
        ("I enjoyed every page of it", "I did not enjoy a single page of it"),
        ("This cake is amazing", "This cake isn't amazing"),
        ("What a good teacher he is", "He is not a good teacher"),
    ),
    "love": (
        ("I love spending time with you", "I don't love spending time with you"),
        ("She adores her little garden", "She doesn't adore her little garden"),
        ("I love my city", "I never loved my city"),
        ("He loves his wife", "He does not love his wife"),
        ("I really love this band", "I really don't love this band"),
        ("I love you", "I don't love you"),
    ),
    "sadness": (
        ("I am sad about leaving", "I am not sad about leaving"),
        ("She was disappointed by the answer", "She wasn't disappointed by the answer"),
        ("I feel lonely in the evenings", "I never feel lonely in the evenings"),
        ("He is depressed these days", "He isn't depressed these days"),
        ("The ending was heartbreaking", "The ending was not heartbreaking"),
        ("I'm sorry for what I said", "I'm not sorry for what I said"),
        ("They were upset when we left", "They weren't upset when we left"),
        ("My uncle looked miserable at dinner", "My uncle did not look miserable at dinner"),
    ),
    "anger": (
        ("I am angry at the whole department", "I am not angry at the whole department"),
        ("This makes me furious", "This doesn't make me furious"),
        ("I hate waiting in line", "I don't hate waiting in line"),
        ("She was annoyed by the noise", "She was not annoyed by the noise"),
        ("He's mad at me", "He's not mad at me"),
        ("The smell was disgusting", "The smell wasn't disgusting"),
        ("I am irritated by his tone", "I am never irritated by his tone"),
    ),
    "fear": (
        ("I'm afraid of the dark", "I'm not afraid of the dark"),
        ("She is terrified of flying", "She isn't terrified of flying"),
        ("I was scared during the storm", "I wasn't scared during the storm"),
        ("He feels nervous before the interview", "He doesn't feel nervous before the interview"),
        ("I am worried about the results", "I am not worried about the results"),
        ("The basement is creepy", "The basement isn't creepy"),
    ),
    "surprise": (
        ("I was surprised to see her there", "I was not surprised to see her there"),
        ("We are shocked by the price", "We are not shocked by the price"),
        ("I'm confused by this map", "I'm not confused by this map"),
        ("He was amazed by the crowd", "He wasn't amazed by the crowd"),
        ("The twist was unexpected", "The twist wasn't unexpected"),
    ),
}  # fmt: skip
_ENDINGS = ("", ".", ", to tell the truth.", ", you know", "!")

FACTS = """
The committee meets every second Thursday in the town hall.
Aluminium is extracted from bauxite.
The train from platform four departs at 14:20.
Our warehouse stores paper, ink and envelopes.
The document consists of three sections and an appendix.
Basalt forms when lava cools.
The ferry crosses the strait twice a day.
The spreadsheet has a column for the postal code.
A litre of water weighs about one kilogram.
The author published the second volume in 1932.
Sugar dissolves in warm water.
The clinic is on the corner of Elm Street.
The parcel was delivered to the front desk.
The script reads a file and prints the number of lines.
The valley lies between two mountain ranges.
My flight lands at six in the evening.
The museum has a collection of coins.
The new schedule starts in September.
There are four chairs around the table.
The mayor is elected for five years.
The cable connects the monitor to the computer.
The report was sent to the members on Friday.
Penguins live in the southern hemisphere.
The recipe needs 200 grams of rice.
The building has an elevator and two staircases.
The sample was stored at minus twenty degrees.
He teaches geography at a secondary school.
The tram stops at the central station.
The triangle has one right angle.
The paper describes a method for sorting numbers.
The shop is open from ten to six.
The ship carries containers to Rotterdam.
Silver has the atomic number 47.
She keeps the receipts in a folder.
The village has about 800 inhabitants.
The second meeting room is on the left.
The camera takes pictures in black and white.
The road was paved in the nineties.
The index starts at zero.
Wheat is harvested in late summer.
""".strip().splitlines()

EMOJI = (
    ("😂😂", "joy"), ("see you tomorrow 😊", "joy"), ("we did it 🎉", "joy"), ("👍", "joy"), ("the bus is here 😀", "joy"),
    ("❤️", "love"), ("good night 😘", "love"), ("thinking of you 💕", "love"), ("🥰", "love"), ("my dog 😍", "love"),
    ("😭", "sadness"), ("he left 😢", "sadness"), ("💔", "sadness"), ("monday again 😞", "sadness"), (":(", "sadness"),
    ("😡", "anger"), ("again?! 🤬", "anger"), ("that man 😠", "anger"), ("they did it again 😤", "anger"), ("🤮", "anger"),
    ("😱", "fear"), ("exam in an hour 😰", "fear"), ("😨", "fear"), ("noises downstairs 😨", "fear"),
    ("😮", "surprise"), ("🤔", "surprise"), ("he is her brother 😲", "surprise"), ("🤯", "surprise"), ("what 😳", "surprise"),
)  # fmt: skip

STRONGER = (
    ("I am sad", "I am extremely sad", "sadness"), ("This is annoying", "This is incredibly annoying", "anger"),
    ("I'm happy", "I'm so so happy", "joy"), ("He was scared", "He was absolutely terrified", "fear"),
    ("That was surprising", "That was really surprising", "surprise"), ("I'm a little worried", "I'm very worried", "fear"),
    ("slightly disappointed", "deeply disappointed", "sadness"), ("I'm somewhat angry", "I'm totally furious", "anger"),
    ("It is kind of nice", "It is really nice", "joy"), ("a bit confused", "completely confused", "surprise"),
    ("I kind of like him", "I really love him", "love"), ("mildly irritated", "extremely irritated", "anger"),
)  # fmt: skip

EMPHASIS = (
    ("I hate this", "I HATE THIS", "anger"), ("I hate this.", "I hate this!!!", "anger"), ("so happy", "soooo happyyyy", "joy"),
    ("this is amazing", "THIS IS AMAZING!!!", "joy"), ("no way", "NO WAY!!!", "surprise"), ("I am scared", "I AM SCARED", "fear"),
    ("love it", "loooove it", "love"), ("so sad", "sooooo saaad", "sadness"), ("I am so angry", "I am SO ANGRY!!", "anger"),
    ("great", "greaaaat", "joy"), ("what", "WHAT?!?!", "surprise"), ("I miss her", "I miss herrrr so muuuch", "sadness"),
)  # fmt: skip

SARCASM = (
    "Oh great, another meeting that could have been an email.", "Wow, what a surprise, the train is late again.",
    "Thanks a lot for ruining my weekend.", "Fantastic, my phone died right before the call.",
    "Sure, because that worked so well last time.", "I just love being woken up at 4 am by the neighbours.",
    "Brilliant idea, let's delete the backups too.", "Yeah right, he's a real genius.",
    "Oh joy, more paperwork.", "Nice job breaking it, hero.", "Lovely weather for a picnic, just the one hurricane.",
    "Great, it's raining on my wedding day.",
)  # fmt: skip

NAME_FRAMES = (
    "{} is so happy about the new job", "I am angry at {}", "{} was scared of the storm", "I love {} so much",
    "{} and I went to the store", "Poor {} is crying again", "I can't believe {} said that!", "thanks {}!",
    "{}'s answer was rude", "Hi, my name is {} and I live here", "We met {} at the station yesterday.",
    "{} died last night", "is {} coming to the party?", "{} sent the report on Monday",
)  # fmt: skip
NAMES = (
    "Emily Greg Jamal Lakisha Mohammed Fatima Wei Mei Hiroshi Yuki Priya Rahul Juan María José "
    "Guadalupe Olga Dmitri Chukwuemeka Adaeze Kwame Ngozi Ahmed Aisha Moshe Rivka Sven Ingrid Liam "
    "Siobhan Tyrone Shaniqua Brad Becky Nguyen Linh Park Jisoo Mehmet Ayşe João Beatriz Pierre Amélie "
    "Giulia Luca Kofi Zainab Tariq Leilani Xiomara DeShawn Anne John Mary Robert Linda Ali Sara Ivan "
    "Natasha"
).split()  # fmt: skip


def negation_pairs() -> list[tuple[str, str, str]]:
    """(stated, denied, label): 210 pairs."""
    return [
        (stated + ending, denied + ending, label)
        for label, pairs in _NEGATIONS.items()
        for stated, denied in pairs
        for ending in _ENDINGS
    ]


def negation(engine: Scorer) -> float:
    """Share of pairs where denying takes the label's score below .35 or to half of what it was."""
    pairs = negation_pairs()
    stated, denied = engine.score([a for a, _, _ in pairs]), engine.score([b for _, b, _ in pairs])
    right = 0
    for before, after, (_, _, label) in zip(stated, denied, pairs, strict=True):
        index = LABELS.index(label)
        a, b = before.raw[index], after.raw[index]
        right += b < a and (b < 0.35 or b <= a / 2)
    return right / len(pairs)


def facts_minimal(engine: Scorer) -> float:
    return sum(e.intensity_level == "minimal" for e in engine.score(FACTS)) / len(FACTS)


def emoji(engine: Scorer) -> float:
    found = engine.score([text for text, _ in EMOJI])
    return sum(e.category == label for e, (_, label) in zip(found, EMOJI, strict=True)) / len(EMOJI)


def _rises(engine: Scorer, triples: Sequence[tuple[str, str, str]]) -> float:
    weak, strong = engine.score([a for a, _, _ in triples]), engine.score([b for _, b, _ in triples])
    ats = [LABELS.index(label) for _, _, label in triples]
    return sum(b.raw[i] > a.raw[i] for a, b, i in zip(weak, strong, ats, strict=True)) / len(triples)


def degree(engine: Scorer) -> float:
    return _rises(engine, STRONGER)


def emphasis(engine: Scorer) -> float:
    return _rises(engine, EMPHASIS)


def sarcasm(engine: Scorer) -> float:
    """Share of sarcastic complaints that are not taken for joy or love."""
    return sum(e.category not in ("joy", "love") for e in engine.score(SARCASM)) / len(SARCASM)


def name_shift(engine: Scorer) -> float:
    """Largest difference of any score, valence or arousal between two names in the same frame."""
    worst = 0.0
    for frame in NAME_FRAMES:
        found = engine.score([frame.format(name) for name in NAMES])
        columns = list(zip(*((*e.raw, e.valence, e.arousal) for e in found), strict=True))
        worst = max(worst, *(max(c) - min(c) for c in columns))
    return worst


PROBES: dict[str, Callable[[Scorer], float]] = {
    "negation": negation,
    "facts minimal": facts_minimal,
    "emoji": emoji,
    "degree words": degree,
    "emphasis": emphasis,
    "sarcasm not taken for joy": sarcasm,
    "largest shift by name": name_shift,
}
