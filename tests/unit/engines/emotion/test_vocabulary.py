import numpy as np
import pytest

from triptych.engines.emotion import vocabulary
from triptych.engines.emotion.vocabulary import BUCKETS, PAD, Vocabulary

WIDTH, MARKS = 4, 2


@pytest.fixture
def known() -> Vocabulary:
    table = np.zeros((4, WIDTH + MARKS), np.int8)
    table[1:, :WIDTH] = [[4, 0, 0, 0], [0, 8, 0, 0], [0, 0, 0, -9]]
    grams = np.tile(np.array([100, -100, 2, 0], np.int8), (BUCKETS, 1))
    return Vocabulary([PAD, "crying", "loudly", "sea"], table, grams, 0.5)


def test_a_known_word_has_its_row_and_room_for_marks(known: Vocabulary) -> None:
    assert known.vectors(known.rows(["sea", PAD])).tolist() == [[0, 0, 0, -9, 0, 0], [0] * 6]


def test_an_unseen_word_is_made_of_its_letters_in_steps_of_the_table(known: Vocabulary) -> None:
    assert known.vectors(known.rows(["sea", "seashore"]))[1].tolist() == [50, -50, 1, 0, 0, 0]


def test_an_unseen_emoji_is_the_mean_of_the_words_of_its_name(known: Vocabulary) -> None:
    assert known.vectors(known.rows(["😭"]))[0].tolist() == [2, 4, 0, 0, 0, 0]


def test_a_sum_beyond_eight_bits_is_cut_and_does_not_wrap() -> None:
    table = np.zeros((1, WIDTH + MARKS), np.int8)
    far = Vocabulary([PAD], table, np.full((BUCKETS, WIDTH), 100, np.int8), 3.0)
    assert far.vectors(far.rows(["seashore"]))[0].tolist() == [127, 127, 127, 127, 0, 0]


def test_rows_of_unseen_words_are_freed_beyond_a_bound(
    known: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "_CACHED_KEYS", 50)
    monkeypatch.setattr(vocabulary, "_ROWS_AT_ONCE", 8)
    words = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(60)]
    rows = known.rows(words)
    assert sorted(rows) == list(range(4, 64))
    known.forget_unseen()
    assert known.rows(["another", "sea"]) == [4, 3]
    assert known.vectors([4])[0].tolist() == [50, -50, 1, 0, 0, 0]
