import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from training.emotion import probes

from triptych.engines.emotion.engine import WINDOW_TOKENS, EmotionEngine


def test_the_probe_sets_are_as_big_as_they_claim() -> None:
    assert len(probes.negation_pairs()) >= 200
    assert len(probes.FACTS) == 40


@pytest.mark.parametrize(
    ("name", "floor"),
    [
        ("negation", 0.9), ("facts minimal", 1.0), ("emoji", 0.8), ("degree words", 0.85), ("emphasis", 0.65),
    ],
)  # fmt: skip
def test_a_probe_stays_above_its_floor(name: str, floor: float, engine: EmotionEngine) -> None:
    assert probes.PROBES[name](engine) >= floor


def test_swapping_names_moves_no_score(engine: EmotionEngine) -> None:
    assert probes.name_shift(engine) <= 0.05


LABELLED = {
    "joy": ("I'm so happy right now!", "This is hilarious lol", "Thank you so much, great work", "best day of my life"),
    "love": ("I love you so much", "I adore my little brother, take care of yourself", "love love love this"),
    "sadness": ("I'm so sorry for your loss", "I cried all night, I miss her", "this is so sad"),
    "anger": ("I hate you", "shut up, you idiot", "this is fucking bullshit", "I am furious about this"),
    "fear": ("I'm terrified of what happens next", "I am so scared", "this is horrifying, I'm afraid"),
    "surprise": ("wow, I did not expect that", "what? I don't understand", "I wonder why that is?"),
}  # fmt: skip


def test_plain_cases_are_told_apart(engine: EmotionEngine) -> None:
    wrong = [
        (text, label, emotion.category)
        for label, texts in LABELLED.items()
        for text, emotion in zip(texts, engine.score(texts), strict=True)
        if emotion.category != label or emotion.intensity < 0.35
    ]
    assert len(wrong) <= 2, wrong


def test_valence_and_arousal_order_plain_cases(engine: EmotionEngine) -> None:
    good, plain, bad = engine.score(
        ["I love this, what a wonderful day!", "The bus stops here.", "I hate this, it is awful"]
    )
    assert good.valence > plain.valence + 0.1 > bad.valence + 0.2
    assert min(good.arousal, bad.arousal) > plain.arousal


ODD = [
    "",
    " ",
    "\x00",
    "\ud800",
    "😂",
    "\u202eevil\u202c",
    "x" * 10_000,
    "a " * 5_000,
    "!" * 10_000,
    "מה",
    "\n\n",
    "🏳️‍🌈",
]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_any_text_has_finite_scores_in_range(text: str, engine: EmotionEngine) -> None:
    (found,) = engine.score([text])
    assert all(0 <= score <= 1 for score in (*found.raw, found.wonder, found.arousal))
    assert -1 <= found.valence <= 1
    assert not any(map(math.isnan, found.raw))


def test_a_blank_text_feels_nothing(engine: EmotionEngine) -> None:
    assert engine.score([""])[0].intensity_level == "minimal"
    assert engine.score([]) == []


def test_a_batch_says_what_each_text_alone_says(engine: EmotionEngine) -> None:
    texts = [f"{'so ' * (i % 9)}happy about number {i} {'😂' * (i % 3)} zxqv{i}" for i in range(40)]
    together = engine.score(texts)
    for text, emotion in zip(texts, together, strict=True):
        (alone,) = engine.score([text])
        assert alone.raw == pytest.approx(emotion.raw, abs=1e-5)
        assert alone.valence == pytest.approx(emotion.valence, abs=1e-5)


def test_threads_may_share_an_engine(engine: EmotionEngine) -> None:
    texts = [f"I am {word} zq{i}x" for i in range(60) for word in ("happy", "sad")]
    expected = [e.raw for e in engine.score(texts)]
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(lambda _: engine.score(texts), range(8)):
            for emotion, raw in zip(found, expected, strict=True):
                assert emotion.raw == pytest.approx(raw, abs=1e-6)


def test_one_strong_passage_in_a_long_text_is_seen(engine: EmotionEngine) -> None:
    plain = "The committee met in the town hall. The report has three sections. " * 12
    (alone,) = engine.score([plain])
    (found,) = engine.score([plain + "I hate you, you disgusting idiot, go to hell! " * 3])
    assert engine.count_tokens(plain) > WINDOW_TOKENS
    assert found.raw[3] > alone.raw[3] + 0.1


def test_one_reading_gives_scores_and_tokens(engine: EmotionEngine) -> None:
    texts = ["I can't believe it!!! 😂😂", "", "The report has three sections. " * 30]
    emotions, tokens = engine.analyse(texts)
    assert emotions == engine.score(texts)
    assert tokens == sum(engine.count_tokens(text) for text in texts) == 7 + 30 * 6


def test_tokens_are_counted_as_they_are_read(engine: EmotionEngine) -> None:
    assert engine.count_tokens("I can't believe it!!! 😂😂") == 7
    assert engine.count_tokens("") == 0
