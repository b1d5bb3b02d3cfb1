"""How an answer might meet the emotion of a user message: ``conversationMode``.

A hint for applications, by the rules below. **No safety device**: the crisis rule prefers false alarms to misses and
still misses; whoever must protect people needs people and purpose-built means.
"""

import re
from typing import Any

import msgspec

from triptych.core.emotion import LABELS, Emotion

AVERAGE_ALPHA = 0.4

STRATEGIES = {
    "neutral": "Answer plainly and match the user's tone.",
    "emotional_support": "Acknowledge the feeling before anything else, listen, and offer help without judging.",
    "analytical": "Answer step by step, give reasons and sources, and leave feelings aside.",
    "celebration": "Share the joy, name what was achieved, and build on it.",
    "de_escalation": "Stay calm, take the complaint seriously, do not argue, and offer one concrete next step.",
    "crisis_intervention": "Respond with care, ask about immediate safety, and point to emergency services or a crisis line.",
}

_JOY, _LOVE, _SADNESS, _ANGER, _FEAR, _SURPRISE = range(len(LABELS))
_FELT = 0.35
_STRONGLY_FELT = 0.55

_SELF = r"(?:my ?self|me|my own life|my life)"
_CRISIS = re.compile(
    r"\b(?:"
    rf"(?:kill|killing|hang|hanging|shoot|shooting|drown|drowning|hurt|hurting|harm|harming|cut|cutting|starve|starving|"
    rf"poison|burn|burning|end|ending|off|offing|unalive|unaliving|overdose|overdosing) {_SELF}"
    r"|(?:take|taking|took|took away) my (?:own )?life|kms|unalive|suicid\w*|self[- ]?harm\w*|overdos(?:e|ed|ing)"
    r"|(?:want|wanna|wanted|going|gonna|ready|wish|plan|planning|rather|better off|deserve|need|decided|hope|hoping) "
    r"(?:to |i |i was |i were |just |be |me )*(?:die|dead|dying|disappear|not exist|end it|cease to exist|never wake up|"
    r"not wake up|go to sleep forever)"
    r"|(?:wish|hope|pray)(?:ed|ing)? (?:that )?i (?:\w+ ){0,3}(?:dead|die|not (?:been )?born|never (?:been )?born|"
    r"not wake|wouldn'?t wake|don'?t wake|didn'?t exist|wasn'?t (?:alive|here))"
    r"|end(?:ing)? (?:it all|it tonight|everything|the pain|things)|(?:no|any|a) (?:reason|point|purpose) (?:to|in|of) "
    r"(?:live|living|go on|going on|keep going|being alive|carry(?:ing)? on|staying)"
    r"|(?:don'?t|do not|didn'?t|never|can'?t|cannot|no longer|not) (?:really |even |want to |wanna |bear to |see myself |"
    r"think i can |think i will )*(?:live|living|be alive|being alive|exist|wake up|go on|keep going|carry on|"
    r"be here|make it through|survive|take (?:it|this|life) any ?more|do this any ?more|keep doing this)"
    r"|better off (?:without me|dead|if i)|(?:nobody|no one|noone|nobody'd|no one'd) (?:would|will|'d)? ?(?:miss|notice|care) "
    r"(?:me|if i)|tired of (?:living|being alive|life|existing|fighting)|life (?:is|isn'?t|is not|has no|feels) (?:not )?"
    r"(?:worth|meaning|pointless|meaningless|worthless|over)|worth living|say(?:ing)? goodbye|final goodbye|goodbye forever|"
    r"goodbye (?:note|letter)|last (?:message|note|goodbye|day on earth)|my will to live"
    r"|(?:jump|jumping|jumped|step|stepping) (?:off|from|in front of|out of) (?:a |the |my )?(?:bridge|roof|building|train|"
    r"balcony|window|cliff|traffic|ledge|bus|car)"
    r"|(?:swallow|take|took|taken|taking|swallowed|have) (?:\w+ ){0,3}(?:all (?:\w+ ){0,3}|too many |a lot of |bottle of |"
    r"enough )(?:pills|tablets|meds|medication|sleeping pills)"
    r"|slit (?:my|both) wrists?|cutting again|razor (?:blade )?(?:to|on) my|noose|rope around my neck|gun (?:to|in|at) my "
    r"(?:head|mouth)|the gun is loaded"
    r"|(?:he|she|they|my (?:\w+ ){0,2}\w+|husband|wife|boyfriend|girlfriend|partner|dad|mom|father|mother) (?:is |are |was |"
    r"has |keeps |just |will |'s |going to |gonna |says he'll |threatened to )*(?:beat(?:ing|s|en)?|hit(?:ting|s)?|"
    r"chok(?:e|ed|es|ing)|strangl\w+|rap(?:e|ed|es|ing)|abus(?:e|ed|es|ing)|kill(?:ing)?|threaten\w*|molest\w*|touch(?:es|ed|ing)) "
    r"(?:me|us|my (?:kids?|child(?:ren)?|son|daughter|baby)|her|him)"
    r"|i(?:'ve| have| was|'m| am)? (?:been |being |got |getting )?(?:raped|molested|assaulted|abused|beaten)"
    r"|(?:going to|gonna|want to|wanna|will|i'?ll|about to|could|might|plan to) (?:\w+ )?(?:kill|murder|shoot|stab|hurt|"
    r"strangle) (?:him|her|them|someone|somebody|people|everyone|everybody|my \w+|you all)"
    r"|(?:bring|bringing|take|taking) (?:a|my|the) (?:gun|knife) to (?:school|work)|not safe (?:at home|here|with)"
    r"|hopeless|can'?t (?:breathe|stop shaking|cope|do this)|trapped with no way out|no way out|nothing left (?:to|for)|"
    r"give up on (?:life|everything|living)|giving up on (?:life|everything|living)"
    r")\b",
    re.IGNORECASE,
)
_ANALYTICAL = re.compile(
    r"\b(?:how (?:do|does|did|can|could|would|should|to|many|much|long|come)|why (?:do|does|did|is|are|would)|what (?:is|are|was|does|would|"
    r"if|causes)|which|explain|compare|comparison|difference between|analy[sz]e|analysis|calculate|compute|estimate|"
    r"evaluate|pros and cons|trade-?offs?|step by step|algorithm|function|data|statistic\w*|formula|prove|derive|summari[sz]e|"
    r"debug|error|code|implement|optimi[sz]e|hypothesis|evidence|define|definition)\b",
    re.IGNORECASE,
)


class Mode(msgspec.Struct, frozen=True, gc=False):
    mode: str
    confidence: float
    """0..1: how far the deciding score is above its bound; no probability."""
    strategy: str


def conversation_mode(text: str, emotion: Emotion, average: Emotion | None = None) -> Mode:
    """The mode for the newest user message; ``average`` is the state of the conversation, where there is one.

    The first rule that holds decides: crisis (words, or strong sadness or fear with very negative valence), anger ->
    de-escalation, sadness or fear -> support, joy or love -> celebration, a question of fact -> analytical, else neutral.
    Half a point of the conversation's average is added for sadness, anger and fear: a mood outlasts one short message.
    """
    raw = list(emotion.raw)
    if average is not None:
        for label in (_SADNESS, _ANGER, _FEAR):
            raw[label] = max(raw[label], 0.5 * raw[label] + 0.5 * average.raw[label])
    distress = max(raw[_SADNESS], raw[_FEAR])
    if _CRISIS.search(text.replace("’", "'")):
        return _mode("crisis_intervention", 0.6 + 0.4 * max(distress, raw[_ANGER]))
    if distress >= 0.9 and emotion.valence <= -0.5:
        return _mode("crisis_intervention", 0.5)
    if raw[_ANGER] >= _FELT and raw[_ANGER] >= distress:
        return _mode("de_escalation", raw[_ANGER])
    if distress >= _FELT and distress >= max(raw[_JOY], raw[_LOVE]):
        return _mode("emotional_support", distress)
    delight = max(raw[_JOY], raw[_LOVE])
    if delight >= _STRONGLY_FELT and emotion.valence > 0:
        return _mode("celebration", delight)
    if _ANALYTICAL.search(text):
        return _mode("analytical", max(0.5, 1 - emotion.intensity))
    return _mode("neutral", max(0.5, 1 - emotion.intensity))


def _mode(mode: str, confidence: float) -> Mode:
    return Mode(mode, min(1.0, confidence), STRATEGIES[mode])


def averaged(before: Emotion | None, emotion: Emotion) -> Emotion:
    """The state of a conversation after one more user message: exponential average, ``AVERAGE_ALPHA`` for the newest."""
    if before is None:
        return emotion

    def mix(old: float, new: float) -> float:
        return old + AVERAGE_ALPHA * (new - old)

    raw: Any = tuple(mix(old, new) for old, new in zip(before.raw, emotion.raw, strict=True))
    return Emotion(
        raw=raw,
        valence=mix(before.valence, emotion.valence),
        arousal=mix(before.arousal, emotion.arousal),
        wonder=mix(before.wonder, emotion.wonder),
        language=emotion.language,
    )
