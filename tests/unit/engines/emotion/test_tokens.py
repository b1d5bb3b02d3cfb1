import pytest

from triptych.engines.emotion.tokens import (
    CAPS,
    ELONGATED,
    NAME,
    NEGATED,
    NUMBER,
    REPEATED,
    STRONGER,
    WEAKER,
    Lexicon,
    tokenise,
)

LEXICON = Lexicon(
    frozenset(
        "i am so happy not sad very slightly the was do does is good cool no way it and joy hope we".split()
    ),
    frozenset(("john", "jose")),
    frozenset(("joy", "hope")),
)


def keys(text: str) -> list[str]:
    return tokenise(text, LEXICON)[0]


def marks(text: str) -> dict[str, int]:
    return dict(zip(*tokenise(text, LEXICON), strict=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I am happy.", ["i", "am", "happy", "."]),
        ("it isn't good", ["it", "is", "n't", "good"]),
        ("it isn’t good", ["it", "is", "n't", "good"]),
        ("can't won't", ["can", "n't", "will", "n't"]),
        ("see https://example.org/x?y=1 now", ["see", "<link>", "now"]),
        ("12:30 and 1,000.5", [NUMBER, "and", NUMBER]),
        ("happy :) :-( <3", ["happy", ":)", ":-(", "<3"]),
        ("so 😂😂😂", ["so", "😂"]),
        ("👍🏽", ["👍"]),
        ("❤️", ["❤"]),
        ("no way?!", ["no", "way", "!?"]),
        ("", []),
        (" \n\t", []),
        ("\x00", ["\x00"]),
        ("\ud800", ["\ud800"]),
    ],
)
def test_a_text_falls_into_words_signs_and_numbers(text: str, expected: list[str]) -> None:
    assert keys(text) == expected


def test_names_are_one_key_whoever_it_is() -> None:
    for name in ("John", "José", "Xiomara", "john", "[NAME]"):
        assert keys(f"{name} is happy") == [NAME, "is", "happy"], name
        assert keys(f"i am happy, {name}")[-1] == NAME, name


def test_a_word_that_is_also_a_name_is_a_name_where_it_stands_like_one() -> None:
    assert keys("Joy is happy")[0] == NAME
    assert keys("we saw Hope")[-1] == NAME
    assert keys("Hope it was good")[0] == "hope"
    assert keys("so joy it is")[1] == "joy"


def test_emphasis_is_marked() -> None:
    assert marks("I am HAPPY")["happy"] == CAPS
    assert marks("soooo cooool")["so"] == ELONGATED
    assert marks("soooo cooool")["cool"] & ELONGATED
    assert marks("no!!!")["!"] == REPEATED


def test_negation_reaches_to_the_end_of_the_clause() -> None:
    found = marks("i am not very happy, so good")
    assert found["happy"] & NEGATED
    assert not found["good"] & NEGATED
    assert not found["i"] & NEGATED


def test_degree_words_mark_the_next_word() -> None:
    assert marks("very happy")["happy"] == STRONGER
    assert marks("slightly sad")["sad"] == WEAKER


@pytest.mark.parametrize(
    "text",
    [
        "Happy am I", "it is GOOD", "GOOD", "Hope was here", "Joy and Hope", "So so happy", "i\u2028am\x1fso\u3000happy",
        "good. Good? gooood", "john is Good", "I",
    ],
)  # fmt: skip
def test_a_word_that_was_read_before_is_read_alike(text: str) -> None:
    fresh = Lexicon(LEXICON.known, LEXICON.names, LEXICON.maybe_names)
    first = tokenise(text, fresh)
    tokenise("Good good Happy happy Is is It it I i So so", fresh)
    assert fresh.plain
    assert tokenise(text, fresh) == first
