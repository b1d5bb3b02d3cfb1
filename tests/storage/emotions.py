"""Emotions and contexts for the storage tests; as a program, one process of a race:

``python -m tests.storage.emotions URL NAME WRITERS BODIES`` says ``ready``, waits for a line, then lets
its threads write to one context, each body with two ids of its own and one that all processes want.
It prints how many bodies were stored and how many of those that want the shared id.
"""

import sys
import threading

from triptych.core.emotion import Emotion
from triptych.storage.contexts import Contexts, DuplicateMessage, NewMessage, Owner
from triptych.storage.database import Database, open_database
from triptych.storage.sealing import OrgKeys

OWNER = Owner("ORG", "live")
CONTEXT = b"chat-123"
DAY_US = 86_400_000_000
WRAPPING = b"w" * 32


def emotion(valence: float = 0.0, joy: float = 0.1) -> Emotion:
    return Emotion((joy, 0.1, 0.1, 0.1, 0.1, 0.1), valence, 0.5, 0.25)


def averaged(before: Emotion | None, newest: Emotion) -> Emotion:
    """As the engine does it, for the one number the tests look at."""
    if before is None:
        return newest
    return emotion(0.6 * before.valence + 0.4 * newest.valence)


def contexts(database: Database) -> Contexts:
    return Contexts(database, OrgKeys(database, WRAPPING), averaged)


def said(*ids: str | None, role: str = "user", text: str | None = None) -> list[NewMessage]:
    return [NewMessage(role, emotion(), None if id is None else id.encode(), text) for id in ids]


def race(url: str, name: str, writers: int, bodies: int) -> tuple[int, int]:
    database = open_database(url, durability="process")
    kept = contexts(database)
    stored: list[str] = []

    def write(writer: int) -> None:
        for body in range(bodies):
            own = f"{name}-{writer}-{body}"
            kept.append(OWNER, CONTEXT, said(own + "-a", own + "-b"), DAY_US)
            stored.append("body")
            try:
                kept.append(OWNER, CONTEXT, said(own + "-c", f"shared-{writer}-{body}"), DAY_US)
                stored.append("shared")
            except DuplicateMessage as duplicate:
                if duplicate.index != 1:
                    raise

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    print("ready", flush=True)
    sys.stdin.readline()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database.close()
    return stored.count("body"), stored.count("shared")


if __name__ == "__main__":
    print(*race(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])), flush=True)
