"""A streamed answer made into a whole one, and a whole one into a stream: the judge of every wire's
event decoder and encoder. Strict about the grammar of ``core/events.py``."""

from collections.abc import Iterable, Sequence

from triptych.core.conversation import Answer, Citation, Opaque, Reasoning, Refusal, Text, ToolCall
from triptych.core.events import (
    AnswerEnded,
    AnswerFailed,
    AnswerStarted,
    CitationGiven,
    Delta,
    Event,
    OpaqueGiven,
    PartKind,
    PartStarted,
    PartStopped,
    Pinged,
)

AnswerPart = Text | Refusal | Reasoning | ToolCall


def fold(events: Iterable[Event]) -> Answer:
    """The answer a whole stream amounts to.

    A part in which nothing was said is none (a call always is one). Raises AssertionError when the
    grammar is broken, or the stream failed or has no end.
    """
    folding = _Folding()
    for event in events:
        folding.take(event)
    assert folding.ended is not None, "the stream has no end"
    assert folding.started is not None
    return Answer(
        id=folding.started.id,
        model=folding.started.model,
        created_s=folding.started.created_s,
        parts=tuple(folding.parts),
        stop=folding.ended.stop,
        stop_sequence=folding.ended.stop_sequence,
        usage=folding.ended.usage,
        service_tier=folding.ended.service_tier,
    )


def check_grammar(events: Iterable[Event]) -> None:
    """Raises AssertionError when what came so far is not the beginning of a stream, or goes on after
    its end; a failure of the provider is a regular end."""
    folding = _Folding(may_fail=True)
    for event in events:
        folding.take(event)


def unfold(answer: Answer, *, delta_chars: int = 7) -> list[Event]:
    """A stream that folds to the answer (when it has no empty parts), with deltas of at most
    ``delta_chars``."""
    events: list[Event] = [AnswerStarted(answer.id, answer.model, answer.created_s)]
    for index, part in enumerate(answer.parts):
        events += _unfold_part(index, part, delta_chars)
    events.append(AnswerEnded(answer.stop, answer.stop_sequence, answer.usage, answer.service_tier))
    return events


def _unfold_part(index: int, part: AnswerPart, delta_chars: int) -> list[Event]:
    said: list[Event] = []
    match part:
        case ToolCall():
            kind, text = PartKind.TOOL_CALL, part.arguments
            started = PartStarted(index, kind, part.id, part.name)
        case Text():
            kind, text = PartKind.TEXT, part.text
            started = PartStarted(index, kind)
            said = [CitationGiven(index, citation) for citation in part.citations]
        case Reasoning():
            kind, text = PartKind.REASONING, part.text
            started = PartStarted(index, kind)
            said = [OpaqueGiven(index, part.opaque)] if part.opaque else []
        case Refusal():
            kind, text = PartKind.REFUSAL, part.text
            started = PartStarted(index, kind)
    deltas = [Delta(index, kind, text[at : at + delta_chars]) for at in range(0, len(text), delta_chars)]
    return [started, *deltas, *said, PartStopped(index)]


class _Folding:
    def __init__(self, *, may_fail: bool = False) -> None:
        self.started: AnswerStarted | None = None
        self.ended: AnswerEnded | None = None
        self.parts: list[AnswerPart] = []
        self._may_fail = may_fail
        self._over = False
        self._count = 0
        self._open: PartStarted | None = None
        self._texts: list[str] = []
        self._citations: list[Citation] = []
        self._opaque: Opaque | None = None

    def take(self, event: Event) -> None:
        assert not self._over, f"{type(event).__name__} after the end"
        match event:
            case Pinged():
                pass
            case AnswerFailed():
                assert self._may_fail, "the stream failed"
                self._over = True
            case AnswerStarted():
                assert self.started is None, "the answer starts twice"
                self.started = event
            case _:
                assert self.started is not None, f"{type(event).__name__} before the start"
                self._take_inside(event)

    def _take_inside(
        self, event: PartStarted | Delta | OpaqueGiven | CitationGiven | PartStopped | AnswerEnded
    ) -> None:
        opened = self._open
        match event:
            case PartStarted():
                assert opened is None, "a part starts inside another"
                assert event.index == self._count, "the indexes have a gap"
                is_call = event.kind is PartKind.TOOL_CALL
                assert is_call == bool(event.call_id) == bool(event.name), "a call has an id and a name"
                self._open, self._count = event, self._count + 1
                self._texts, self._citations, self._opaque = [], [], None
                return
            case AnswerEnded():
                assert opened is None, "the answer ends inside a part"
                self.ended, self._over = event, True
                return
        assert opened is not None, f"{type(event).__name__} outside of a part"
        assert event.index == opened.index, "another part than the open one"
        match event:
            case Delta():
                assert event.kind is opened.kind, "a delta of another kind than its part"
                assert event.text, "an empty delta"
                assert self._opaque is None, "a delta after what is opaque"
                self._texts.append(event.text)
            case OpaqueGiven():
                assert opened.kind is PartKind.REASONING, "only reasoning has what is opaque"
                assert self._opaque is None, "opaque twice"
                self._opaque = event.opaque
            case CitationGiven():
                assert opened.kind is PartKind.TEXT, "only text cites"
                self._citations.append(event.citation)
            case PartStopped():
                self._stop(opened)

    def _stop(self, opened: PartStarted) -> None:
        self._open = None
        part = _folded_part(opened, self._texts, self._citations, self._opaque)
        if part is not None:
            self.parts.append(part)


def _folded_part(
    opened: PartStarted, texts: Sequence[str], citations: Sequence[Citation], opaque: Opaque | None
) -> AnswerPart | None:
    text = "".join(texts)
    match opened.kind:
        case PartKind.TEXT:
            return Text(text, tuple(citations)) if text else None
        case PartKind.REFUSAL:
            return Refusal(text) if text else None
        case PartKind.REASONING:
            return Reasoning(text, opaque) if text or opaque else None
        case PartKind.TOOL_CALL:
            return ToolCall(opened.call_id, opened.name, text)
