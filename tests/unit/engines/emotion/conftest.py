import pytest

from triptych.engines.emotion.engine import EmotionEngine


@pytest.fixture(scope="session")
def engine() -> EmotionEngine:
    return EmotionEngine.load()
