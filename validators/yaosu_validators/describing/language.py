"""Which languages a text is in, from its scripts and its small words (BCP 47 tags).

Scripts decide most of it and cost next to nothing; within the Latin script, function words do.
A text that shows neither is left unnamed rather than guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_SCRIPTS = {
    "han": re.compile("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]"),
    "kana": re.compile("[\u3041-\u30ff]"),
    "hangul": re.compile("[\u1100-\u11ff\uac00-\ud7af]"),
    "latin": re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]"),
    "cyrillic": re.compile("[\u0400-\u052f]"),
    "arabic": re.compile("[\u0620-\u064a\u0671-\u06d3]"),
    "hebrew": re.compile("[\u05d0-\u05ea]"),
    "thai": re.compile("[\u0e01-\u0e4e]"),
    "devanagari": re.compile("[\u0904-\u0939\u0958-\u0961]"),
    "greek": re.compile("[\u0391-\u03c9]"),
    "tibetan": re.compile("[\u0f40-\u0fbc]"),
    "mongolian": re.compile("[\u1820-\u1877]"),
}
_ASCII = {"latin": _SCRIPTS["latin"]}
_WORDS = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")

_ONE_LANGUAGE = {
    "hangul": "ko",
    "hebrew": "he",
    "thai": "th",
    "devanagari": "hi",
    "greek": "el",
    "tibetan": "bo",
    "mongolian": "mn",
}
# One character of these scripts says about as much as two or three letters.
_WEIGHT = {"han": 2.5, "kana": 2.0, "hangul": 2.0}
_LEAST = {"han": 4, "kana": 4, "hangul": 4}
_LEAST_LETTERS = 20
SAMPLE = 1000

# Characters that only one of the two written forms uses, among the commonest of each.
_SIMPLIFIED = frozenset(
    "们这国会来时说对学过发么样开现还动经见给问关点当长间应实话让数东车书该门认头马万电师总结统计论"
    "难观变议设报记语读译证诉试请谁谢课调谈货质费资赛转轻较载输边达运进远连迟选递钱银错针铁闭闻阅队"
    "阳阴际陆陈韩页顶项顺须顾预领题风飞饭馆驾验鱼鸟龙齐体从个为义乐习乡买卖产亲亿仅价众优伤传"
)
_TRADITIONAL = frozenset(
    "們這國會來時說對學過發麼樣開現還動經見給問關點當長間應實話讓數東車書該門認頭馬萬電師總結統計論"
    "難觀變議設報記語讀譯證訴試請誰謝課調談貨質費資賽轉輕較載輸邊達運進遠連遲選遞錢銀錯針鐵閉聞閱隊"
    "陽陰際陸陳韓頁頂項順須顧預領題風飛飯館駕驗魚鳥龍齊體從個為義樂習鄉買賣產親億僅價眾優傷傳"
)
_ONLY_SIMPLIFIED = _SIMPLIFIED - _TRADITIONAL
_ONLY_TRADITIONAL = _TRADITIONAL - _SIMPLIFIED

_FUNCTION_WORDS = {
    "en": "the of and to in is that for it with as are this be on you from or by have not what",
    "fr": "le la les de des et est en un une que pour dans qui pas sur ce il au avec sont du",
    "de": "der die das und ist nicht ein eine zu den mit von für auf sich dem auch es als im",
    "es": "el la los las de que y en un una es por con para del se no su al como más",
    "pt": "o os as de que e em um uma é por com para do da não se no na ao como mais",
    "it": "il lo la gli di che e un una è per con del della non si le da sono nel più",
    "nl": "de het een en van is niet dat op te in voor met zijn aan er ook als bij",
    "sv": "och att det som en är på för av med till den inte om ett har jag",
    "pl": "i w nie na się że z do to jest jak ale po co przez od",
    "tr": "ve bir bu da de için ile çok olarak olan daha gibi ne",
    "vi": "và của là có không được cho một các những trong với người này để",
    "id": "dan yang di itu dengan untuk tidak ini dari dalam akan pada adalah",
    "ro": "și de la în care nu cu pe este un o să din mai",
    "cs": "a se v na je že to s z do o k ale jako za by",
}
# Single letters are left out: they are everywhere in formulas, hashes and lists.
FUNCTION_WORDS = {
    tag: frozenset(word for word in words.split() if len(word) > 1)
    for tag, words in _FUNCTION_WORDS.items()
}
_TAGS_OF_WORD = {
    word: tuple(tag for tag, known in FUNCTION_WORDS.items() if word in known)
    for word in frozenset().union(*FUNCTION_WORDS.values())
}
_EITHER_CHINESE = "zh?"


def weigh(text: str) -> dict[str, float]:
    """Return the languages of one text and how much of it each is; empty where nothing shows."""
    text = text[:SAMPLE]
    if len(text) < 4 or (text.isascii() and text.count(" ") < 3):
        return {}
    scripts = _ASCII if text.isascii() else _SCRIPTS
    counts = dict.fromkeys(_SCRIPTS, 0)
    counts.update({name: len(script.findall(text)) for name, script in scripts.items()})
    if counts["kana"] >= 4 and counts["kana"] * 8 >= counts["han"]:
        counts["kana"] += counts.pop("han")
    weights = {
        name: n * _WEIGHT.get(name, 1.0)
        for name, n in counts.items()
        if n >= _LEAST.get(name, _LEAST_LETTERS)
    }
    total = sum(weights.values())
    languages: dict[str, float] = {}
    for name, weight in weights.items():
        tag = _language(name, text) if weight >= 0.2 * total else None
        if tag:
            languages[tag] = languages.get(tag, 0.0) + weight
    return languages


class Languages:
    """A tally over many texts."""

    def __init__(self) -> None:
        self.weights: dict[str, float] = {}

    def add(self, text: str) -> None:
        for tag, weight in weigh(text).items():
            self.weights[tag] = self.weights.get(tag, 0.0) + weight

    def add_all(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.add(text)

    def merge(self, other: Languages) -> None:
        for tag, weight in other.weights.items():
            self.weights[tag] = self.weights.get(tag, 0.0) + weight

    def tags(self, *, least: float = 0.08) -> list[str]:
        """Return what makes up at least `least` of the whole, most of it first.

        Simplified Chinese is plain `zh`, as corpora call it; `zh-Hant` says traditional.
        """
        weights = dict(self.weights)
        either = weights.pop(_EITHER_CHINESE, 0.0)  # short lines that both forms write alike
        if either:
            form = "zh-Hant" if weights.get("zh-Hant", 0) > weights.get("zh", 0) else "zh"
            weights[form] = weights.get(form, 0.0) + either
        total = sum(weights.values())
        ranked = sorted(weights.items(), key=lambda item: (-item[1], item[0]))
        return [tag for tag, weight in ranked if weight >= least * total]


def _language(script: str, text: str) -> str | None:
    if script == "han":
        return _chinese(text)
    if script == "kana":
        return "ja"
    if script == "latin":
        return _latin(text)
    if script == "cyrillic":
        return "uk" if re.search("[іїєґ]", text.lower()) else "ru"
    if script == "arabic":
        if re.search("[ٹڈڑںے]", text):
            return "ur"
        return "fa" if re.search("[پچژگ]", text) else "ar"
    return _ONE_LANGUAGE[script]


def _chinese(text: str) -> str:
    simplified = sum(char in _ONLY_SIMPLIFIED for char in text)
    traditional = sum(char in _ONLY_TRADITIONAL for char in text)
    if not simplified and not traditional:
        return _EITHER_CHINESE
    return "zh-Hant" if traditional > 2 * simplified else "zh"


def _latin(text: str) -> str | None:
    words = _WORDS.findall(text.lower())
    if len(words) < 4 or text.count(" ") < 3:
        return None
    hits = dict.fromkeys(FUNCTION_WORDS, 0)
    for word in words:
        for tag in _TAGS_OF_WORD.get(word, ()):
            hits[tag] += 1
    scores = sorted(((n / len(words), tag) for tag, n in hits.items()), reverse=True)
    (best, tag), (second, _) = scores[0], scores[1]
    return tag if best >= 0.1 and best >= 1.15 * second else None
