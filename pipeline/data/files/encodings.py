"""Whether bytes make sense in an encoding: many that are legal are written in another one."""

from __future__ import annotations

import re
from typing import Final

# Signs of cp1252 that are letters in other code pages of single bytes, and longer runs of letters with marks than any
# western language has.
_NO_WESTERN_TEXT: Final = re.compile(r"[¢¥¦¯³¶¹¼¾][a-zà-ÿ]|[À-Öà-öø-ÿ]{4}|[¡-¿]{3}|¤|[A-Za-z][¨¸½][a-z]")
# Letters of CP437 that are low quotation marks, carets and the like in cp1252, which follow no letter.
_DOS_LETTER: Final = re.compile(r"[A-Za-z][‚„ƒˆ‰‹˜](?!\d)|[A-Za-z][”“‡†][a-z]")
# Letters of Iceland that are those of Turkish and Baltic code pages; Icelandic has the others as well.
_ICELANDIC: Final = re.compile(r"[ÐÝÞðýþ]")
_ICELANDIC_TOO: Final = re.compile(r"[ÁÍÓÚÆáíóúæ]")
# A word with a letter or two with marks between plain ones.
_WESTERN_WORD: Final = re.compile(r"(?<!\w)(?=\w*[a-zA-Z])(?:[a-zA-Z]|[À-ÖØ-öø-ÿ]{1,2}(?![À-ÖØ-öø-ÿ]))*(?!\w)")
_MAX_STRANGE_SHARE: Final = 0.05
# Letters with marks and the signs of shops, at most two letters with marks in a row.
_PLAIN_WESTERN_TEXT: Final = re.compile(r"(?:[\0-\x7fŒœŠšŽž“”„’‘–€®™°]|[À-ÖØ-öø-ÿ]{1,2}(?![À-ÖØ-öø-ÿ]))*")
_KANA: Final = re.compile(r"[\u3041-\u30ff]")
_HANGUL: Final = re.compile(r"[\uac00-\ud7a3]")
# Of GB2312, signs and the characters in everyday use, which are ordered by sound.
_COMMON: Final = re.compile(rb"(?:[\xa1-\xa9\xb0-\xd7][\xa1-\xfe])")
_MIN_COMMON_SHARE: Final = 0.6
_MAX_KANA_SHARE: Final = 0.2
_MAX_WITHIN_WORD_SHARE: Final = 0.2
_MIN_KOREAN: Final = 12  # shorter texts of Hangul may be Chinese as well
# A single character between small letters is rather a letter with a mark of another encoding.
_WITHIN_WORD: Final = re.compile(r"[a-z][\u4e00-\u9fff][a-z]")
# A capital with a mark after a small letter is rather a small letter of another encoding.
_MIXED_CASE: Final = re.compile(r"[a-zà-öø-ÿ][À-ÖØ-ÞŸŽŠŒ]")


def is_western(data: bytes) -> bool:
    """Return whether bytes that look like GB18030 are rather cp1252, as a few adjacent letters with marks are."""
    text = data.decode("cp1252", errors="replace")
    return _PLAIN_WESTERN_TEXT.fullmatch(text) is not None and not _is_turkish_or_baltic(text)


def is_plausible(data: bytes, encoding: str) -> bool:
    """Return whether whole lines are text in cp1252 or GB18030 and in none that is often taken for it.

    Shift JIS, EUC-JP, EUC-KR and Big5 are legal GB18030 for the most part: their text is of rare characters, of kana,
    or all Hangul as EUC-KR.
    """
    whole = data[: data.rfind(b"\n") + 1] or data
    try:
        text = whole.decode(encoding)
    except UnicodeDecodeError:
        return False
    if encoding == "cp1252":
        return _is_western_text(text)
    strange = "".join(character for character in text if not character.isascii())
    common = sum(_COMMON.fullmatch(one.encode("gb2312", errors="ignore")) is not None for one in strange)
    if len(_WITHIN_WORD.findall(text)) > _MAX_WITHIN_WORD_SHARE * len(strange):
        return False
    if common < _MIN_COMMON_SHARE * len(strange) or len(_KANA.findall(strange)) > _MAX_KANA_SHARE * len(strange):
        return False
    korean = len(_HANGUL.findall(whole.decode("euc_kr", errors="replace")))
    return korean < max(len(strange), _MIN_KOREAN)


def _is_western_text(text: str) -> bool:
    """Return whether no more than a few of the words with marks are none of cp1252, such as one of signs alone."""
    if _is_turkish_or_baltic(text):
        return False
    strange = sum(len(sign.findall(text)) for sign in (_NO_WESTERN_TEXT, _MIXED_CASE, _DOS_LETTER))
    western = sum(not word.isascii() for word in _WESTERN_WORD.findall(text)) if strange else 0
    return strange <= _MAX_STRANGE_SHARE * western


def _is_turkish_or_baltic(text: str) -> bool:
    return _ICELANDIC.search(text) is not None and not _ICELANDIC_TOO.search(text)
