"""Medical words that look like names: drugs, and people after whom signs, scores and diseases are called."""

import re

from triptych.engines.phi.rules import Candidate
from triptych.engines.phi.tokens import Lexicon

_WORD = re.compile(r"[A-Za-z]+")
_CALLED_AFTER = re.compile(
    r"(?:'s?)?[\s-]{1,2}(?:(?:[a-z]+|[IVX]+|II?)\s)?(?:signs?|scores?|tests?|criteri(?:a|on)|diseases?|syndromes?|palsy|reflex(?:es)?|triad|classification|"
    r"staging|stage|grad(?:e|ing)|sum|index|scale|catheters?|fractures?|lymphoma|thyroiditis|phenomenon|esophagus|maneuvers?|"
    r"manoeuvres?|position|procedure|operation|repair|tendon|lesions?|disorder|dystrophy|encephalopathy|contracture|nodes?|"
    r"spots?|lines?|ring|law|formula|equation|questionnaire|inventory|tumou?r|sarcoma|cells?|bod(?:y|ies)|stain|method|"
    r"technique|incision|shunt|valve|tube|bag|drain|diet|rules?|risk|probability|level|model|trial|study|vaccine|protocol|"
    r"chorea|ataxia|anemia|purpura|nephropathy|cholangitis|hepatitis|gangrene|ulcer|hernia|cyst|abscess|angina|murmur|"
    r"respirations?|breathing|number|\d+(?:\+\d+)?\b)",
    re.IGNORECASE,
)


def is_safe(text: str, name: Candidate, lexicon: Lexicon) -> bool:
    """Whether a tagged name or place is a medical term: all its words are on the list, and no given name or title
    says otherwise, or what follows says that something is called after it."""
    if name.type not in {"PERSON", "LOCATION"}:
        return False
    medical, person = lexicon.mask("medical"), lexicon.mask("first_name", "surname", "title")
    words = _WORD.findall(text[name.start : name.end].lower())
    known = [lexicon.find(word)[1] for word in words if len(word) > 1]
    if not known or not all(bits & medical for bits in known):
        return False
    if _CALLED_AFTER.match(text, name.end) or not any(bits & person for bits in known):
        return True
    return name.score < 0.8 and len(known) == 1
