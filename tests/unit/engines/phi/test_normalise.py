"""The plain spelling of texts, and the way back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.engines.phi.normalise import plain


@given(st.text())
def test_every_character_of_the_plain_spelling_comes_from_a_place_in_the_text(text: str) -> None:
    spelled = plain(text)
    assert spelled.text.isascii()
    last = 0
    for place in range(len(spelled.text)):
        start, end = spelled.span(place, place + 1)
        assert last <= start < end <= len(text)
        last = start


@given(st.text(st.characters(codec="ascii", exclude_characters="\\")))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert plain(text) == plain(text[:]) and plain(text).text == text and plain(text).at is None


@pytest.mark.parametrize(
    ("disguised", "meant"),
    [
        ("1\u200b2\u200b3", "123"),
        ("\u202e123\u202c", "123"),
        ("１２３－４５", "123-45"),
        ("٣٤٥", "345"),
        ("Јоhn Ѕmith", "John Smith"),
        ("José", "Jose"),
        ("Jose\u0301", "Jose"),
        ("\\u0031\\u00322", "122"),
        ("Müller\\nSmith", "Muller Smith"),
        ("ﬁle", "file"),
        ("2023–05–06", "2023-05-06"),
    ],
)
def test_disguises_are_taken_off(disguised: str, meant: str) -> None:
    spelled = plain(disguised)
    assert spelled.text == meant
    start, end = spelled.span(0, len(spelled.text))
    assert disguised[start:end].strip("\u202e\u202c") == disguised.strip("\u202e\u202c")


def test_a_word_in_another_script_is_not_taken_for_latin() -> None:
    assert plain("Москва").text == "Xxxxxx"


def test_windows_paths_keep_their_backslashes() -> None:
    assert plain("C:\\users\\me").text == "C:\\users\\me"
