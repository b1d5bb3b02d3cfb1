"""How many input tokens a request has, about, from its bytes alone.

For holds, before every call: nothing is decoded. Four bytes are a token, as in ``token_estimate``;
files inside the body do not count by their bytes, and what stands for more than its bytes counts a
fixed number: images, tools, documents named by an address. All of it is found by searching for the
keys that the three wires share. A key spelled with escapes is not found: the estimate is then too
low, and the charge what it is.
"""

from typing import Final

from triptych.wires.token_estimate import (
    BYTES_PER_TOKEN,
    IMAGE_TOKENS,
    REMOTE_DOCUMENT_TOKENS,
    TOOL_TOKENS,
)

TOOL_USE_TOKENS: Final = 350
"""What Anthropic puts before the tools, whatever their number
(https://docs.anthropic.com/en/docs/build-with-claude/tool-use: 346 for most models)."""
_FILE_BYTES_PER_TOKEN: Final = 40
"""Of a decoded document: ``token_estimate`` says the same."""
SHORTEST_FILE: Final = 4_096
"""In base64. A smaller one may count by its bytes."""
# Beyond so many marks, bytes count as text: a body of nothing but marks must not cost time.
_MOST_FILES: Final = 1_000
# The first bytes of PNG, JPEG, GIF and RIFF (WebP), in base64.
_IMAGE_BEGINNINGS: Final = (b"iVBOR", b"/9j/", b"R0lGOD", b"UklGR")
_FILE_MARKS: Final = (b'"data"', b";base64,")


def estimate_request_tokens(body: bytes) -> int:
    """At least 1."""
    files = 0
    tokens = len(body) // BYTES_PER_TOKEN
    if len(body) > SHORTEST_FILE:
        file_bytes, files, file_tokens = _files(body)
        tokens += file_tokens - file_bytes // BYTES_PER_TOKEN
    if body.find(b'"tools"') >= 0:
        tools = body.count(b'"input_schema"') or body.count(b'"parameters"')
        tokens += TOOL_USE_TOKENS + tools * TOOL_TOKENS
    # Whatever is not text says what it is.
    if body.find(b'"type"') >= 0:
        images = _images(body) if body.find(b"image") >= 0 else 0
        documents = body.count(b'"document"') + body.count(b'"input_file"')
        if images or documents:
            # Those inside the body have been counted above.
            left_out = max(0, images + documents - files)
            remote_images = min(images, left_out)
            tokens += remote_images * IMAGE_TOKENS + (left_out - remote_images) * REMOTE_DOCUMENT_TOKENS
    return tokens or 1


def _images(body: bytes) -> int:
    """Chat says ``image_url`` twice for each image, Responses once beside ``input_image``."""
    urls, inputs = body.count(b'"image_url"'), body.count(b'"input_image"')
    return body.count(b'"image"') + inputs + max(0, urls - inputs + 1) // 2


def _files(body: bytes) -> tuple[int, int, int]:
    """Bytes that are base64 of files, how many files, and the tokens they stand for."""
    file_bytes = files = tokens = 0
    for mark in _FILE_MARKS:
        found = body.find(mark)
        looked_at = 0
        while found >= 0 and looked_at < _MOST_FILES:
            looked_at += 1
            start = found + len(mark)
            if mark == b'"data"':
                start = body.find(b'"', start) + 1
                if start == 0:
                    break
            end = body.find(b'"', start)
            if end < 0:
                break
            size = end - start
            # A data URL in a field "data" is met twice, but has only one file.
            if size >= SHORTEST_FILE and not (mark == b'"data"' and body.startswith(b"data:", start)):
                file_bytes += size
                files += 1
                image = body.startswith(_IMAGE_BEGINNINGS, start)
                tokens += IMAGE_TOKENS if image else max(1, size * 3 // 4 // _FILE_BYTES_PER_TOKEN)
            found = body.find(mark, end)
    return file_bytes, files, tokens
