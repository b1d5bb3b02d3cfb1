"""The one error that leaves the storage layer."""


class StorageError(Exception):
    """Something a person can act on: says what was wrong, where, and what to do.

    The text never holds key material, passwords or row contents.
    """


class SpoiltContent(StorageError):
    """What is stored was changed, or moved: trying again changes nothing."""


def reason(error: Exception) -> str:
    """For a log line: a StorageError's words are made for people; of any other error only the kind, for its
    text may quote rows."""
    return str(error) if isinstance(error, StorageError) else type(error).__name__
