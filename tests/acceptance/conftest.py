"""The provider that misbehaves on demand; what each module adds is its own gateway."""

from collections.abc import Iterator

import pytest

from tests.devices.faulty_upstream import FaultyUpstream


@pytest.fixture(scope="module")
def upstream() -> Iterator[FaultyUpstream]:
    with FaultyUpstream() as device:
        yield device
