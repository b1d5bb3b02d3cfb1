"""Random JSON text in every legal spelling: white space, escapes, numbers, key order."""

import random

import msgspec

WHITE = ["", "", "", "", " ", "  ", "\n", "\t", "\r\n", " \n  "]
CHARS = [*"abcxyz019{}[]:,/ ", "é", "ß", "中", "😀", "\u2028", "\x7f"]
ESCAPES = [
    *[r"\"", r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t"],
    *[r"\u0041", r"\u00e9", r"\ud83d\ude00", r"\uD83D\uDE00"],
]
NUMBERS = [
    "0",
    "-0",
    "1",
    "-17",
    "1.0",
    "1.50",
    "1e5",
    "1E+5",
    "2e-3",
    "1e999",
    "123456789012345678901234567890",
]


class JsonWriter:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def white(self) -> str:
        return self.random.choice(WHITE)

    def string(self) -> str:
        pick = self.random
        return '"' + "".join(pick.choices(CHARS + ESCAPES, k=pick.randrange(8))) + '"'

    def spelled(self, text: str) -> str:
        """A string literal of exactly this text, some of its characters escaped."""
        pick = self.random
        if pick.random() < 0.8:
            return f'"{text}"'
        return '"' + "".join(f"\\u{ord(c):04x}" if pick.random() < 0.3 else c for c in text) + '"'

    def value(self, depth: int = 0) -> str:
        pick = self.random
        kind = pick.randrange(6 if depth < 3 else 4)
        if kind == 0:
            return self.string()
        if kind == 1:
            return pick.choice(NUMBERS)
        if kind == 2:
            return pick.choice(["true", "false", "null"])
        if kind == 3:
            return pick.choice(["[]", "{}", "[ ]", "{\n}"])
        inner = [self.value(depth + 1) for _ in range(pick.randrange(1, 4))]
        if kind == 4:
            return "[" + ",".join(self.white() + item + self.white() for item in inner) + "]"
        pairs = (f"{self.string()}{self.white()}:{self.white()}{item}" for item in inner)
        return "{" + ",".join(self.white() + pair + self.white() for pair in pairs) + "}"


class Piece(msgspec.Struct):
    """One member as written: white space, ``"key": value``, white space."""

    key: str
    before: str
    core: str
    value: str
    after: str


class Body(msgspec.Struct):
    """A body and the pieces it was written from."""

    lead: str
    pieces: list[Piece]
    trail: str

    @property
    def text(self) -> bytes:
        inner = ",".join(piece.before + piece.core + piece.after for piece in self.pieces)
        return f"{self.lead}{{{inner}}}{self.trail}".encode()

    def without(self, names: frozenset[str]) -> bytes:
        """The body as it must be after the named members were taken out, built from the pieces."""
        text = self.pieces[0].before if self.pieces else ""
        first = True
        for index, piece in enumerate(self.pieces):
            if piece.key in names:
                continue
            if not first:
                text += "," + piece.before
            first = False
            last = index
            while last + 1 < len(self.pieces) and self.pieces[last + 1].key in names:
                last += 1
            text += piece.core + self.pieces[last].after
        if first and self.pieces:
            text += self.pieces[-1].after
        return f"{self.lead}{{{text}}}{self.trail}".encode()


def random_body(writer: JsonWriter, fixed: dict[str, str], optional: tuple[str, ...]) -> Body:
    """An object of the ``fixed`` members, some of the ``optional`` ones and some unknown ones."""
    pick = writer.random
    members = dict(fixed)
    for name in optional:
        if pick.random() < 0.5:
            members[name] = writer.value()
    for number in range(pick.randrange(4)):
        members[f"x{number}é"] = writer.value()
    keys = list(members)
    pick.shuffle(keys)
    pieces = []
    for key in keys:
        core = f"{writer.spelled(key)}{writer.white()}:{writer.white()}{members[key]}"
        pieces.append(Piece(key, writer.white(), core, members[key], writer.white()))
    return Body(writer.white(), pieces, writer.white())
