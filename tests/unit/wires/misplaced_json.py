"""A JSON body in which one value, anywhere, was replaced by one that may not stand there."""

import json
from typing import Any

from hypothesis import strategies as st

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
)
values = st.recursive(
    scalars,
    lambda below: st.lists(below, max_size=2) | st.dictionaries(st.text(max_size=5), below, max_size=2),
    max_leaves=4,
)


@st.composite
def misplaced(draw: st.DrawFn, body: dict[str, Any]) -> bytes:
    """The text of ``body`` after the replacement; ``body`` itself stays as it is."""
    changed = json.loads(json.dumps(body))
    place: Any = changed
    while True:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not place[key] or not isinstance(place[key], dict | list) or draw(st.integers(0, 3)) == 0:
            break
        place = place[key]
    place[key] = draw(values)
    return json.dumps(changed).encode()
