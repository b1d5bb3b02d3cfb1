"""Heads of requests: nothing a caller sends can end a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.upstreams.http1_head import Origin, header_line, request_target, split_base_url


@pytest.mark.parametrize(
    ("base_url", "origin", "path", "authority"),
    [
        ("https://api.example.com", Origin("https", "api.example.com", 443), "", b"api.example.com"),
        ("http://h:80/", Origin("http", "h", 80), "", b"h"),
        ("http://H:8080/a/v1/", Origin("http", "h", 8080), "/a/v1", b"h:8080"),
        ("https://[::1]:9/v1", Origin("https", "::1", 9), "/v1", b"[::1]:9"),
        (
            "https://bücher.example",
            Origin("https", "xn--bcher-kva.example", 443),
            "",
            b"xn--bcher-kva.example",
        ),
    ],
)
def test_a_base_url_is_split(base_url: str, origin: Origin, path: str, authority: bytes) -> None:
    assert split_base_url(base_url) == (origin, path)
    assert origin.authority == authority


@pytest.mark.parametrize(
    "base_url",
    ["", "api.example.com", "ftp://h", "http://", "http://h?x=1", "http://h#f", "http://h/a b", "http://h:x"],
)
def test_what_is_no_base_url_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError, match=r"base_url|[Pp]ort"):
        split_base_url(base_url)


def test_a_password_in_a_base_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="user name or password") as caught:
        split_base_url("https://user:hunter2@host")
    assert "hunter2" not in str(caught.value)


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.binary())
def test_no_path_or_query_ends_the_request_line(path: str, query: bytes) -> None:
    target = request_target("/" + path, query)
    assert all(0x21 <= byte <= 0x7E for byte in target)
    assert target.count(b"?") >= bool(query)


def test_a_usual_target_is_left_as_it_is() -> None:
    query = b"beta=true&x=%20a?b/c:d@e"
    assert request_target("/v1/messages", query) == b"/v1/messages?" + query


@given(st.binary(), st.binary())
def test_a_header_line_is_one_line_or_refused(name: bytes, value: bytes) -> None:
    try:
        line = header_line(name, value)
    except ValueError:
        return
    assert line == name + b": " + value + b"\r\n"
    assert line.count(b"\r") == line.count(b"\n") == 1
    assert b"\0" not in line


@pytest.mark.parametrize("value", [b"a\r\nx-api-key: b", b"a\nb", b"a\rb", b"a\0b"])
def test_a_header_value_with_a_line_break_is_refused_and_not_repeated(value: bytes) -> None:
    with pytest.raises(ValueError, match="anthropic-beta") as caught:
        header_line(b"anthropic-beta", value)
    assert "x-api-key" not in str(caught.value)
