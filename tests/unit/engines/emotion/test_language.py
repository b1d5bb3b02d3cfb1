import pytest

from triptych.engines.emotion.engine import EmotionEngine

TEXTS = {
    "en": (
        "I am so tired of this weather", "ok", "lol", "Great news!", "no", "what a day", "Thanks John", "😂😂", "12:30",
        "naïve café owners love it", "Bonjour my friend, how are you today?", "de facto", "brb", "omg yesss",
    ),
    "es": ("Estoy muy triste porque no puedo ir hoy", "¿Qué es esto? No me gusta nada", "gracias por todo"),
    "fr": ("Je suis très heureux de te voir", "C'est une mauvaise nouvelle pour nous", "merci pour tout"),
    "de": ("Ich bin heute sehr traurig und müde", "Das ist nicht gut", "Wie geht es dir heute?"),
    "it": ("Sono molto felice di vederti oggi", "questo non è per me"),
    "pt": ("Estou muito feliz hoje, obrigado por tudo", "não sei o que é isso"),
    "nl": ("Ik ben vandaag heel blij met het nieuws",),
    "pl": ("Jestem bardzo smutny, ale nie wiem co się dzieje",),
    "tr": ("bugün çok mutluyum ama bir şey var",),
    "ru": ("Мне очень грустно сегодня",),
    "uk": ("Мені дуже сумно і я не знаю, що робити",),
    "ja": ("今日はとても悲しいです",),
    "zh": ("我今天很难过",),
    "ko": ("오늘 너무 슬퍼요",),
    "ar": ("أنا حزين جدا اليوم",),
    "he": ("אני מאוד עצוב היום",),
    "hi": ("मैं आज बहुत दुखी हूँ",),
    "el": ("Είμαι πολύ λυπημένος σήμερα",),
    "th": ("วันนี้ฉันเศร้ามาก",),
}  # fmt: skip


@pytest.mark.parametrize("code", TEXTS)
def test_the_language_of_a_text_is_told(code: str, engine: EmotionEngine) -> None:
    for text, emotion in zip(TEXTS[code], engine.score(TEXTS[code]), strict=True):
        assert emotion.language == code, text
