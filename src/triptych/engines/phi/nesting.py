"""How a value must be spelled where it comes back: once more escaped for every JSON string it stands in."""

import re

# A run of backslashes is looked at once, from its beginning.
_MARK = re.compile(r'(?<!\\)(\\*+)"|[{}\[\]]')
# What a JSON text begins with, before its first string: brackets, blanks (escaped where it stands in a
# string itself), and the fence that Markdown puts around it. Whole, or as far as it has come.
_BRACKETS = r"(?:[{\[]|\s|\\+[nrt])*"
_HEAD = re.compile(rf"\s*(?:`{{0,2}}|```[a-z]{{0,10}}(?:\s{_BRACKETS})?|{_BRACKETS})")
_HEAD_CHARS = 64
_MAX_DEPTH = 5
"""Deeper, a quote is a word: a value doubles with every level."""
_RUN_CHARS = 1 << _MAX_DEPTH
"""More backslashes than stand before any quote that counts."""


class Nesting:
    """Reads one text, piece by piece, as a JSON text: how many strings enclose what comes next.

    The text of a string may be a JSON text itself, whose quotes are then spelled ``\\"``, and so on. A
    text that does not begin like an object or an array of strings is none: its quotes are words.
    """

    __slots__ = ("_brackets", "_open", "_sure", "_tail")

    def __init__(self, *, sure: bool) -> None:
        """``sure``: it is JSON, whatever it begins with."""
        self._sure = sure
        # Of the text, and of each string that is open: True where it is JSON; until that is known, its head.
        self._open: list[str | bool] = [sure or ""]
        self._brackets = 0
        """Open outside of strings: behind the last of them something else may begin."""
        self._tail = ""
        """Backslashes at the end of a piece: a quote may follow."""

    @property
    def depth(self) -> int:
        return len(self._open) - 1

    def read(self, piece: str) -> None:
        whole = self._tail + piece
        text = whole.rstrip("\\")
        self._tail = whole[len(text) :][:_RUN_CHARS]
        position = 0
        for mark in _MARK.finditer(text):
            self._pass(text[position : mark.start()])
            position = mark.end()
            if mark[0][-1] == '"':
                self._quote(len(mark[1]))
            else:
                self._bracket(mark[0])
        self._pass(text[position:])

    def _quote(self, slashes: int) -> None:
        level = slashes.bit_length()
        if slashes + 1 != 1 << level or level > self.depth:
            return  # a quote inside what a string says
        if level < self.depth:
            del self._open[level + 1 :]
            return
        head = self._open[-1]
        if isinstance(head, str):
            head = self._open[-1] = "{" in head or "[" in head
        if head and self.depth < _MAX_DEPTH:
            self._open.append("")

    def _bracket(self, bracket: str) -> None:
        self._pass(bracket)
        if self.depth == 0:
            self._brackets += 1 if bracket in "{[" else -1
            if self._brackets == 0 and not self._sure:
                self._open[0] = ""

    def _pass(self, text: str) -> None:
        head = self._open[-1]
        if text and isinstance(head, str):
            head += text
            is_head = len(head) <= _HEAD_CHARS and _HEAD.fullmatch(head) is not None
            self._open[-1] = head if is_head else False
