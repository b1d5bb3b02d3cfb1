"""What the emotion surface measures and keeps with, joined for ``wiring.py``."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from triptych.core.emotion import Emotion
from triptych.settings import Settings
from triptych.storage.analyse_tokens import AnalyseTokens
from triptych.storage.context_sweep import ContextSweep
from triptych.storage.contexts import Contexts, UserMessage
from triptych.storage.database import Database
from triptych.storage.sealing import OrgKeys
from triptych.surfaces.emotion.analysis import Engines, Mode
from triptych.surfaces.emotion.keeping import ContextKeeping
from triptych.surfaces.emotion.quota import Quota
from triptych.surfaces.emotion.scoring import Engine, Scoring


def emotion_engines(
    settings: Settings, database: Database, org_keys: OrgKeys, stack: AsyncExitStack
) -> Engines:
    """Everything the emotion surface measures and keeps with; nothing heavy is loaded yet."""
    contexts = Contexts(database, org_keys, _averaged)
    sweep = ContextSweep(contexts)
    sweep.start()
    stack.callback(sweep.close)
    keeping = ContextKeeping(
        contexts,
        ttl_s=settings.emotion.context_ttl_s,
        store_text=settings.emotion.store_text,
        expires=sweep.expires,
    )
    stack.callback(keeping.close)
    tokens = AnalyseTokens(database)
    tokens.start()
    stack.callback(tokens.close)
    scoring = Scoring(_load_emotion_engine)
    stack.callback(scoring.close)
    quota = Quota(tokens, settings.emotion.monthly_quota)
    return Engines(scoring, keeping, quota, _course, _mode_of)


# Imported when they are first needed: a gateway that is asked for no emotion starts without them.


def _averaged(before: Emotion | None, newest: Emotion) -> Emotion:
    from triptych.engines.emotion.modes import averaged

    return averaged(before, newest)


def _mode_of(text: str, emotion: Emotion, state: Emotion | None) -> Mode:
    from triptych.engines.emotion.modes import conversation_mode

    return conversation_mode(text, emotion, state)


def _course(messages: Sequence[UserMessage]) -> Mapping[str, Any]:
    from triptych.engines.emotion.trajectory import Moment, trajectory

    return trajectory(
        [
            Moment(
                message.emotion.valence,
                message.emotion.intensity,
                message.emotion.category,
                message.external_id or "",
            )
            for message in messages
        ]
    )


def _load_emotion_engine() -> Engine:
    from triptych.engines.emotion.engine import EmotionEngine

    return EmotionEngine.load()
