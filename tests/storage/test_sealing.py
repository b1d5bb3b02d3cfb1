"""Stored content: sealed to its place, under ids that a URL can hold."""

import msgspec
import pytest

from triptych.storage.errors import StorageError
from triptych.storage.kept import storable_id
from triptych.storage.responses import Content
from triptych.storage.sealing import place, seal, unseal


def test_what_is_sealed_belongs_to_its_place() -> None:
    key = b"k" * 32
    sealed = seal(key, b"plain", place("a", "bc"))
    assert unseal(key, sealed, place("a", "bc")) == b"plain"
    assert seal(key, b"plain", place("a", "bc")) != sealed
    for other in (place("ab", "c"), place("a", "bc", ""), place("a")):
        with pytest.raises(StorageError):
            unseal(key, sealed, other)
    with pytest.raises(StorageError):
        unseal(key, b"", place("a", "bc"))


@pytest.mark.parametrize("bad", ["", "a\x00b", "ü", "x" * 257, 7, None, "a\nb"])
def test_an_id_that_no_url_could_hold_is_none(bad: object) -> None:
    assert storable_id(bad) is None


def test_an_id_of_a_provider_is_taken_as_it_is() -> None:
    assert storable_id("resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b") is not None


def test_content_is_read_back_byte_for_byte() -> None:
    text = b'{"response":{"b":1.50,"a":"\\u00e9"},"input":[{"x":1e3}]}'
    found = msgspec.json.decode(text, type=Content)
    assert (bytes(found.response), bytes(found.input[0])) == (b'{"b":1.50,"a":"\\u00e9"}', b'{"x":1e3}')
