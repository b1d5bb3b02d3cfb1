import pytest

from triptych.core.emotion import Emotion
from triptych.engines.emotion.modes import STRATEGIES, averaged, conversation_mode

CALM = (0.05, 0.02, 0.02, 0.02, 0.01, 0.05)


def emotion(raw: tuple[float, ...] = CALM, valence: float = 0.0) -> Emotion:
    return Emotion(raw=raw, valence=valence, arousal=0.5, wonder=0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "raw", "valence", "mode"),
    [
        ("The parcel is here.", CALM, 0.0, "neutral"),
        ("How does the algorithm sort the data?", CALM, 0.0, "analytical"),
        ("I passed!!!", (0.9, 0.1, 0.0, 0.0, 0.0, 0.2), 0.7, "celebration"),
        ("everything went wrong", (0.0, 0.0, 0.7, 0.1, 0.1, 0.0), -0.5, "emotional_support"),
        ("what if it happens again", (0.0, 0.0, 0.1, 0.1, 0.6, 0.1), -0.4, "emotional_support"),
        ("you people are useless", (0.0, 0.0, 0.2, 0.8, 0.0, 0.0), -0.6, "de_escalation"),
        ("all is lost", (0.0, 0.0, 0.95, 0.1, 0.1, 0.0), -0.7, "crisis_intervention"),
    ],
)
def test_the_mode_follows_what_is_felt(text: str, raw: tuple[float, ...], valence: float, mode: str) -> None:
    found = conversation_mode(text, emotion(raw, valence))
    assert (found.mode, found.strategy) == (mode, STRATEGIES[mode])
    assert 0 <= found.confidence <= 1


CRISES = """
I want to kill myself
i wanna die
I don't want to live anymore
I don’t want to be here anymore
I wish I was never born
everyone would be better off without me
there's no point in living
I'm thinking about ending it all
I have been cutting myself again
I can't go on
my husband hits me
I took a whole bottle of pills, all of them, I overdosed
sometimes I think about suicide
I feel so hopeless
nobody would miss me if I was gone
I'm going to kill him
I just want to disappear
life is not worth living
I'm standing on the ledge and going to jump off the roof
I am tired of living
my dad is beating me
I keep thinking about how to hang myself
I'd rather be dead
I wish I could go to sleep and not wake up
kms
I said my last goodbye to everyone
""".strip().splitlines()


@pytest.mark.parametrize("text", CRISES)
def test_words_of_a_crisis_count_whatever_the_scores_say(text: str) -> None:
    assert conversation_mode(text, emotion()).mode == "crisis_intervention"


@pytest.mark.parametrize(
    "text",
    [
        "This song kills, love it", "I am dying to see the movie", "the battery is dead", "we should end the meeting",
        "I could eat the whole cake", "that joke killed me", "cut the bread", "my dad is a teacher",
        "how do I kill a process on Linux?",
    ],
)  # fmt: skip
def test_figures_of_speech_are_no_crisis(text: str) -> None:
    assert conversation_mode(text, emotion()).mode != "crisis_intervention"


def test_a_mood_outlasts_one_short_message() -> None:
    angry = emotion((0.0, 0.0, 0.1, 0.9, 0.0, 0.0), -0.6)
    assert conversation_mode("ok", emotion()).mode == "neutral"
    assert conversation_mode("ok", emotion(), angry).mode == "de_escalation"


def test_the_average_weighs_the_newest_message_four_tenths() -> None:
    first, second = emotion((1.0, 0, 0, 0, 0, 0), 1.0), emotion((0.0, 0, 0, 0.5, 0, 0), -1.0)
    assert averaged(None, first) is first
    state = averaged(first, second)
    assert state.raw[0] == pytest.approx(0.6)
    assert state.raw[3] == pytest.approx(0.2)
    assert state.valence == pytest.approx(0.2)
