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


@given(st.text(st.characters(codec="ascii", exclude_characters="\\&", exclude_categories=["Cc"])))
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
        ("Jos&eacute; Garc&#237;a&nbsp;L&#xf3;pez", "Jose Garcia Lopez"),
        ("&#49;2&#x33;&ndash;45&#8209;67&shy;89", "123-45-6789"),
        ("&foo; &notit; AT&T; a&b", "&foo; &notit; AT&T; a&b"),
        ("a&#0;&#x7f;&#1114112;b", "ab"),
        ("123\\-45\\-6789", "123-45-6789"),
        ("T \\(415\\) 555\\-0142", "T (415) 555-0142"),
        ("03\\/14\\/1975 jane\\_doe@example.org", "03/14/1975 jane_doe@example.org"),
        (r"Jos\xc3\xa9 or Jos\xe9 \x31\x32", "Jose or Jose 12"),
        (r"\d{3}\-\d{2} a\.b C:\-x", r"\d{3}\-\d{2} a\.b C:\-x"),
        ("Ann\x1b[0;31m Lee\x1b[0m.", "Ann Lee."),
        (r"Ann\u001b[31m Lee \033[1mBo \x1b[1mCy", "Ann Lee Bo Cy"),
        ("12\x003\x7f-\x0845", "123-45"),
        ("415·555•0142", "415.555.0142"),
        ("• 1 · 2", "\x1a 1 \x1a 2"),
        ("".join(chr(0xE0000 + ord(letter)) for letter in "123-45"), "123-45"),
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
