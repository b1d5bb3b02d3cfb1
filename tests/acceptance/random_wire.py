"""Random requests, answers and streams of the Messages wire, in every spelling JSON and SSE allow.

Text is made from parts, so that what a permitted edit leaves of it is known without parsing. The
same seed makes the same bytes.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

SAME = "same"
MAPPED = "mapped"
MAPPED_UPSTREAM = 'vendor/"mapped"\\x'
STRIPPED = ("metadata", "litellm_metadata", "proxy_server_request")

_SPACES = ("", "", "", "", " ", "  ", "\n", "\t", "\r\n", "\n    ")
_NUMBERS = (
    "0",
    "-0",
    "1.0",
    "1e5",
    "1E+05",
    "0.1000",
    "1e999",
    "-12.5e-300",
    "9" * 40,
    "18446744073709551616",
)
_CHARACTERS = (
    *"abc XYZ019/<>&'",
    *("é", "☃", "𝄞", "\u2028", "\u2029", "\x7f", "\ufeff", "\ufffd"),
    *(
        '\\"',
        "\\\\",
        "\\/",
        "\\b",
        "\\f",
        "\\n",
        "\\r",
        "\\t",
        "\\u0000",
        "\\u00e9",
        "\\uD834\\uDD1E",
        "\\u2028",
    ),
)


def text(random_: random.Random, limit: int = 30) -> str:
    """A JSON string."""
    return '"' + "".join(random_.choices(_CHARACTERS, k=random_.randrange(limit))) + '"'


def key(random_: random.Random, name: str) -> str:
    """A key as JSON; now and then one character of it is spelled as an escape."""
    if random_.random() < 0.05:
        place = random_.randrange(len(name))
        name = f"{name[:place]}\\u{ord(name[place]):04x}{name[place + 1 :]}"
    return f'"{name}"'


def space(random_: random.Random) -> str:
    return random_.choice(_SPACES)


def value(random_: random.Random, depth: int = 3) -> str:
    """Any JSON value."""
    kind = random_.randrange(8 if depth else 5)
    if kind < 2:
        return text(random_)
    if kind < 4:
        return random_.choice(_NUMBERS)
    if kind == 4:
        return random_.choice(("true", "false", "null"))
    inner = [value(random_, depth - 1) for _ in range(random_.randrange(4))]
    if kind < 6:
        return array(random_, inner)
    # Names may occur twice below the top level: that is the provider's business.
    return mapping(random_, [(random_.choice("abc"), element) for element in inner])


def array(random_: random.Random, elements: list[str]) -> str:
    def around(element: str) -> str:
        return space(random_) + element + space(random_)

    return "[" + (",".join(map(around, elements)) or space(random_)) + "]"


def mapping(random_: random.Random, members: list[tuple[str, str]]) -> str:
    def around(member: tuple[str, str]) -> str:
        name, element = member
        parts = (space(random_), key(random_, name), space(random_), ":", space(random_), element)
        return "".join((*parts, space(random_)))

    return "{" + (",".join(map(around, members)) or space(random_)) + "}"


def shuffled(random_: random.Random, members: list[tuple[str, str]]) -> str:
    random_.shuffle(members)
    return mapping(random_, members)


@dataclass(frozen=True)
class RandomRequest:
    body: bytes
    expected: bytes
    """What the provider must get."""
    stream: bool


@dataclass(frozen=True)
class _Member:
    name: str
    before: str
    core: str
    after: str


def request(random_: random.Random) -> RandomRequest:
    model = random_.choice((SAME, MAPPED))
    stream = random_.random() < 0.5
    fields = {
        "model": key(random_, model),
        "max_tokens": str(random_.randrange(1, 10**6)),
        "messages": array(random_, [_message(random_) for _ in range(random_.randrange(1, 5))]),
    }
    if stream or random_.random() < 0.5:
        fields["stream"] = "true" if stream else "false"
    for name in random_.sample(STRIPPED, random_.choice((0, 0, 1, 2, 3))):
        fields[name] = value(random_)
    for number in range(random_.randrange(4)):
        fields[random_.choice(("system", "tools", "new_feature", "ü", "x y")) + str(number)] = value(random_)
    names = list(fields)
    random_.shuffle(names)
    members = [
        _Member(
            name,
            space(random_),
            "".join((key(random_, name), space(random_), ":", space(random_), fields[name])),
            space(random_),
        )
        for name in names
    ]
    start, end = space(random_) + "{", "}" + space(random_)
    body = start + ",".join(member.before + member.core + member.after for member in members) + end
    return RandomRequest(
        body.encode(), (start + _stripped(members, fields["model"], model) + end).encode(), stream
    )


def _message(random_: random.Random) -> str:
    content = text(random_)
    if random_.random() < 0.6:
        blocks = [
            shuffled(random_, [("type", '"text"'), ("text", text(random_)), ("extra", value(random_))])
            for _ in range(random_.randrange(4))
        ]
        content = array(random_, blocks)
    role = random_.choice(('"user"', '"assistant"'))
    return shuffled(random_, [("role", role), ("content", content), ("extra", value(random_, 1))])


def _stripped(members: list[_Member], spelled: str, model: str) -> str:
    """The members that stay: each goes with the comma and the white space before it, except at the
    front, where the white space after the brace stays."""
    pieces = [members[0].before]
    first = True
    for number, member in enumerate(members):
        if member.name in STRIPPED:
            continue
        core = member.core
        if member.name == "model" and model == MAPPED:
            core = core.removesuffix(spelled) + json.dumps(MAPPED_UPSTREAM)
        if not first:
            pieces += (members[number - 1].after, ",", member.before)
        pieces.append(core)
        first = False
    pieces.append(members[-1].after)
    return "".join(pieces)


def answer(random_: random.Random) -> bytes:
    """A JSON object that a provider could mean as an answer."""
    members = [("id", text(random_)), ("usage", _usage(random_)), ("new", value(random_))]
    if random_.random() < 0.7:
        blocks = [
            shuffled(random_, [("type", '"text"'), ("text", text(random_, 200)), ("new", value(random_))])
            for _ in range(random_.randrange(4))
        ]
        members.append(("content", array(random_, blocks)))
    return (space(random_) + shuffled(random_, members) + space(random_)).encode()


def _usage(random_: random.Random) -> str:
    if random_.random() < 0.3:
        return value(random_)
    return shuffled(
        random_,
        [(name, str(random_.randrange(1000))) for name in ("input_tokens", "output_tokens", "new_tokens")],
    )


def stream(random_: random.Random) -> bytes:
    """A stream of any events and comments that ends with ``message_stop``, in one of the line ends
    that the grammar knows."""
    ends = random_.choice((("\n",), ("\n",), ("\r\n",), ("\r",), ("\n", "\r\n")))

    def end() -> str:
        return random_.choice(ends)

    blocks = [_block(random_, end) for _ in range(random_.randrange(20))]
    start = random_.choice(("", "", "", "\ufeff", end()))
    stop = f'event: message_stop{end()}data: {{"type":"message_stop"}}{end()}{end()}'
    after = random_.choice(("", "", f": bye{end()}{end()}", end()))
    return (start + "".join(blocks) + stop + after).encode()


def _block(random_: random.Random, end: Callable[[], str]) -> str:
    name = random_.choice(
        ("content_block_delta", "message_start", "message_delta", "ping", "vendor.new", "ü")
    )
    colon = random_.choice((": ", ":"))
    lines = [f"event{colon}{name}"] if random_.random() < 0.9 else []
    data = shuffled(random_, [("type", f'"{name}"'), ("usage", _usage(random_)), ("delta", value(random_))])
    # A line end inside the data begins another line of it.
    lines += [f"data{colon}{line}" for line in data.replace("\r\n", "\n").split("\n")]
    for extra in (": comment", "id: 7", "retry: 10", "field without colon", "unknown: field", ":"):
        if random_.random() < 0.1:
            lines.insert(random_.randrange(len(lines) + 1), extra)
    if random_.random() < 0.05:
        lines = [": only a comment"]
    return "".join(line + end() for line in lines) + end()


def pieces(random_: random.Random, data: bytes) -> list[bytes]:
    """The same bytes cut at random: into single bytes, a few pieces, or not at all."""
    if not data or random_.random() < 0.2:
        return [data]
    if len(data) < 400 and random_.random() < 0.1:
        return [data[place : place + 1] for place in range(len(data))]
    cuts = sorted(random_.sample(range(1, len(data)), min(len(data) - 1, random_.randrange(1, 12))))
    return [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]
