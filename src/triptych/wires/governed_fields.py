"""What governance reads and takes out of a request's top level, the same on every wire."""

import msgspec

from triptych.wires.jsontext import Members
from triptych.wires.splice import Edit, remove_members, replace_value

STRIPPED_FIELDS = ("metadata", "litellm_metadata", "proxy_server_request")
"""Members that never reach a provider: callers may not spoof governance data."""

_STRIPPED = frozenset(STRIPPED_FIELDS)


class _Metadata(msgspec.Struct):
    user_id: str | None = None


_METADATA = msgspec.json.Decoder(_Metadata)


def user_id(metadata: msgspec.Raw | msgspec.UnsetType) -> str | None:
    """``metadata.user_id`` when that is a string; ``metadata`` may be of any shape."""
    if metadata is msgspec.UNSET:
        return None
    try:
        return _METADATA.decode(metadata).user_id
    except msgspec.ValidationError:
        return None


def governing_edits(members: Members, model: str, upstream_model: str) -> list[Edit]:
    """What every request gets: the model id the provider knows, and no STRIPPED_FIELDS."""
    edits = [] if _STRIPPED.isdisjoint(members.keys) else remove_members(members, _STRIPPED)
    if model != upstream_model:
        edits.append(replace_value(members.named("model"), msgspec.json.encode(upstream_model)))
    return edits
