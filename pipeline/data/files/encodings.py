"""Whether bytes make sense in an encoding: many that are legal are written in another one."""

from __future__ import annotations

import re
from typing import Final

# Signs of cp1252 that are letters in other code pages of single bytes, and longer runs of letters with marks than any
# western language has.
_NO_WESTERN_TEXT: Final = re.compile(r"[¢¥¦¯³¶¹¼¾][a-zà-ÿ]|[À-Öà-öø-ÿ]{4}|[¡-¿]{3}")
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
    return _PLAIN_WESTERN_TEXT.fullmatch(data.decode("cp1252", errors="replace")) is not None


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
        return not _NO_WESTERN_TEXT.search(text) and not _MIXED_CASE.search(text)
    strange = "".join(character for character in text if not character.isascii())
    common = sum(_COMMON.fullmatch(one.encode("gb2312", errors="ignore")) is not None for one in strange)
    if len(_WITHIN_WORD.findall(text)) > _MAX_WITHIN_WORD_SHARE * len(strange):
        return False
    if common < _MIN_COMMON_SHARE * len(strange) or len(_KANA.findall(strange)) > _MAX_KANA_SHARE * len(strange):
        return False
    korean = len(_HANGUL.findall(whole.decode("euc_kr", errors="replace")))
    return korean < max(len(strange), _MIN_KOREAN)
