"""Which language a text seems to be in: its script, then the short words that carry a language's grammar."""

import re
from collections.abc import Mapping, Sequence

_SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("ko", re.compile("[\uac00-\ud7af\u1100-\u11ff]")),
    ("zh", re.compile("[\u4e00-\u9fff\u3400-\u4dbf]")),
    ("uk", re.compile("[іїєґІЇЄҐ]")),
    ("ru", re.compile("[\u0400-\u04ff]")),
    ("el", re.compile("[\u0370-\u03ff]")),
    ("he", re.compile("[\u0590-\u05ff]")),
    ("fa", re.compile("[پچژگ]")),
    ("ar", re.compile("[\u0600-\u06ff]")),
    ("hi", re.compile("[\u0900-\u097f]")),
    ("bn", re.compile("[\u0980-\u09ff]")),
    ("ta", re.compile("[\u0b80-\u0bff]")),
    ("te", re.compile("[\u0c00-\u0c7f]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
    ("ka", re.compile("[\u10a0-\u10ff]")),
    ("hy", re.compile("[\u0530-\u058f]")),
)
_FOREIGN_LETTERS = re.compile("[^\x00-\u024f\u2000-\u2bff\ufe00-\ufe0f\U0001f000-\U0001ffff]")

_GRAMMAR_WORDS = {
    "es": "el la los las de que y en un una es por con para no se lo como pero más muy estoy está qué mi yo te su del al "
    "ha hoy esto todo gracias cuando porque también",
    "fr": "le la les des est et un une je tu il elle nous vous que qui dans pour pas ne avec sur ce cette mais très suis "
    "mon ma c'est j'ai du au aux merci bonjour être",
    "de": "der die das und ist nicht ich du er sie wir ihr ein eine mit zu den dem des auf für von auch es im so aber "
    "bin habe sehr heute mein dass wie was bitte danke",
    "it": "il lo la gli le di che è e un una per non sono con mi ti si come ma più molto questo questa della nel del "
    "ho hai oggi grazie perché anche sei",
    "pt": "o a os as de que e um uma é por com para não se eu você mas muito estou está isso meu minha do da no na em "
    "hoje obrigado obrigada porque também tudo",
    "nl": "de het een en is niet ik je jij hij zij wij dat die van voor met op zijn aan maar ook heel ben mijn er naar "
    "wat dit vandaag geen heb dank",
    "pl": "i w na nie się jest to z do że jak ale co mnie jestem ja ty bardzo tak dziękuję dzisiaj dla mam po za",
    "sv": "och är inte jag det att en ett som på för med har den till vi du av så om men mycket idag min tack",
    "da": "og er ikke jeg det at en et som på for med har den til vi du af så om men meget dag min tak hvad",
    "tr": "bir ve bu çok da de için ben sen değil ne ama var yok gibi daha bugün teşekkürler benim mi",
    "id": "yang dan di ini itu saya aku kamu tidak dengan untuk ada akan sangat hari dari juga terima kasih ke",
    "vi": "tôi là và của không có một cho được này bạn rất với người trong những hôm",
    "ro": "și este nu în pe cu un o eu tu că de la mai foarte sunt pentru din ce azi mulțumesc",
    "cs": "a je se na v že to s do jsem ale jak ne velmi dnes mi si co pro děkuji tak",
    "fi": "on ja ei se että en olen minä sinä mutta hyvin tämä tänään kiitos mitä ole hän niin",
    "hu": "a az és nem hogy egy is van én te nagyon ez de köszönöm ma meg mi volt",
}
_ENGLISH = frozenset(
    (
        "the a an and is are was i i'm you he she it we they to of in that for on with not no my your "
        "this but so be have has do does did what how why when who all just me at as from or if by can "
        "will would about there here more very n't 's 'm 're 've 'll am his her our their been them him "
        "us were had than out up"
    ).split()
)
_LANGUAGES_OF: dict[str, tuple[str, ...]] = {}
for _code, _words in _GRAMMAR_WORDS.items():
    for _word in set(_words.split()):
        _LANGUAGES_OF[_word] = (*_LANGUAGES_OF.get(_word, ()), _code)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_ENOUGH_CHARACTERS = 400


def language_of(text: str, keys: Sequence[str], known: Mapping[str, int]) -> str:
    """ISO 639-1 code; ``en`` where nothing speaks against it, ``und`` for no known language.

    ``keys`` are the tokens of the text: where they are common English grammar words the answer is quick.
    """
    english = len(_ENGLISH.intersection(keys))
    if english * 6 >= min(len(keys), 60) and text.isascii():
        return "en"
    sample = text[:_ENOUGH_CHARACTERS]
    if not sample.isascii() and _FOREIGN_LETTERS.search(sample):
        letters = sum(c.isalpha() for c in sample)
        foreign = sum(c.isalpha() for c in _FOREIGN_LETTERS.findall(sample))
        if foreign * 2 > letters:
            return next((code for code, script in _SCRIPTS if script.search(sample)), "und")
    words = [w.lower().replace("’", "'") for w in _WORD.findall(sample)]
    english = sum(word in _ENGLISH for word in words)
    votes: dict[str, int] = {}
    for word in words:
        for code in _LANGUAGES_OF.get(word, ()):
            votes[code] = votes.get(code, 0) + 1
    if votes:
        best = max(votes, key=votes.__getitem__)
        if votes[best] > max(1, english) and votes[best] * 6 >= len(words):
            return best
    unknown = sum(key.isalpha() and key not in known for key in keys)
    if len(words) >= 4 and not english and unknown * 2 > len(words):
        return "und"
    return "en"
