"""What goes between the gateway and its guard's process: frames of a length and MessagePack."""

from typing import BinaryIO

import msgspec

from triptych.core.policy import Filter
from triptych.engines.phi.inspect import Asked, Inspected

LARGE_BYTES = 64 << 10
"""Requests from here on are read in a thread of their own: small ones do not wait for them."""
HEAD_BYTES = 4


class Job(msgspec.Struct, frozen=True):
    number: int
    org_id: str
    asked: Asked
    filters: tuple[Filter, ...] = ()

    @property
    def size_bytes(self) -> int:
        return len(self.asked.body) + len(self.asked.query)

    @property
    def large(self) -> bool:
        return self.size_bytes >= LARGE_BYTES


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The recogniser is loaded."""


class Done(msgspec.Struct, frozen=True, tag=True):
    number: int
    inspected: Inspected


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The body cannot be read without doubt: the caller's fault."""

    number: int
    message: str


class Broken(msgspec.Struct, frozen=True, tag=True):
    """The guard failed."""

    number: int
    error: str
    """The name of a class; never what it says."""


Told = Ready | Done | Refused | Broken

_ENCODER = msgspec.msgpack.Encoder()
_JOB = msgspec.msgpack.Decoder(Job)
_TOLD = msgspec.msgpack.Decoder(Told)


def framed(message: Job | Told) -> bytes:
    data = _ENCODER.encode(message)
    return len(data).to_bytes(HEAD_BYTES, "big") + data


def frame_bytes(head: bytes | bytearray) -> int:
    """How long a frame is whose length is this."""
    return int.from_bytes(head, "big")


def read_told(data: bytes) -> Told:
    """Raises msgspec.DecodeError."""
    return _TOLD.decode(data)


def read_job(stream: BinaryIO) -> Job | None:
    """The next one; None at the end."""
    head = stream.read(HEAD_BYTES)
    if len(head) < HEAD_BYTES:
        return None
    data = stream.read(frame_bytes(head))
    return _JOB.decode(data)
