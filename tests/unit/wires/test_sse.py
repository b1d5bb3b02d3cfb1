import pytest

from triptych.wires.sse import BLOCK_END, Event, frame, parse_block


@pytest.mark.parametrize(
    ("block", "event"),
    [
        (b"event: a\ndata: x\n\n", Event("a", b"x")),
        (b"event:a\r\ndata:x\r\n\r\n", Event("a", b"x")),
        (b"data: x\revent: a\r\r", Event("a", b"x")),
        (b"data: x\ndata:\ndata:  y\n\n", Event("", b"x\n\n y")),
        (b"data\n\n", Event("", b"")),
        (b"event: a\nevent: b\ndata: x\n\n", Event("b", b"x")),
        (b": comment\nid: 7\nretry: 10\nevent: a\ndata: x\n\n", Event("a", b"x")),
        ("event: a\ndata: x\u2028y\x0bz\n\n".encode(), Event("a", "x\u2028y\x0bz".encode())),
        (b"Event: a\n data: x\neventual: b\ndata: y\n\n", Event("", b"y")),
        (b"event: a\n\n", None),
        (b": comment\n\n", None),
        (b"\n\n", None),
    ],
)
def test_a_block_is_read_as_the_standard_says(block: bytes, event: Event | None) -> None:
    assert parse_block(block) == event


@pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r\n", b"\r\n\n", b"\r\n\r", b"\n\r"])
def test_a_blank_line_ends_a_block_however_it_is_written(end: bytes) -> None:
    match = BLOCK_END.search(b"data: x" + end + b"data: y")
    assert match is not None
    assert match.end() == 7 + len(end)


def test_one_crlf_is_one_line_end() -> None:
    assert BLOCK_END.search(b"data: x\r\ndata: y\r\n") is None


@pytest.mark.parametrize("data", [b"", b"{}", b"a\nb", b"a\r\nb\rc", b" a", b"\n"])
def test_a_frame_reads_back_with_its_line_ends_as_lf(data: bytes) -> None:
    block = frame("error", data)
    assert BLOCK_END.search(block).end() == len(block)  # type: ignore[union-attr]
    as_lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert parse_block(block) == Event("error", as_lines)
    assert parse_block(frame("", data)) == Event("", as_lines)
