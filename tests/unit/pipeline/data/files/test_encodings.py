"""Whether bytes make sense in an encoding."""

from __future__ import annotations

import pytest

from pipeline.data.files.encodings import is_plausible, is_western


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("1,Großer Fuß für 5 € – “Café”\n", "cp1252"),
        ("1,¿Qué? 5 m² à 3 ½\n", "cp1252"),
        ("1,纯牛奶 250ml\n2,巧克力牛奶\n", "gb18030"),
        ("1,Frühstück für Männer\n" * 10 + "2,xäöüé\n", "cp1252"),
        ("1,Þurrkað kjöt í dós – 12”\n", "cp1252"),
        ("1,日式の抹茶牛奶饼干\n", "gb18030"),
    ],
)
def test_text_of_shops_is_plausible(text: str, encoding: str):
    """Signs of currencies, fractions and a kana or two occur in any shop."""
    assert is_plausible(text.encode(encoding), encoding)


@pytest.mark.parametrize(
    ("text", "written", "read"),
    [
        ("1,Żółty ser\n", "cp1250", "cp1252"),
        ("1,Молоко\n", "cp1251", "cp1252"),
        ("1,ヨーグルト\n", "euc_jp", "gb18030"),
        ("1,牛乳\n", "shift_jis", "gb18030"),
        ("1,Książka\n", "cp1250", "gb18030"),
        ("1,Τσάι\n", "cp1253", "gb18030"),
        ("1,안녕하세요 신선한 우유 과자\n", "euc_kr", "gb18030"),
        ("1,Müsli Café\n", "mac_roman", "cp1252"),
        ("1,Käse Café Öl\n", "cp437", "cp1252"),
        ("1,Kırmızı elbise şık\n", "cp1254", "cp1252"),
        ("1,Šaldytuvas žalias\n", "cp1257", "cp1252"),
    ],
)
def test_text_of_another_encoding_is_not(text: str, written: str, read: str):
    """Its letters are signs or rare characters in the other one."""
    assert not is_plausible(text.encode(written), read)


def test_a_character_cut_at_the_end_of_a_sample_does_not_count():
    """Whole lines decide."""
    assert is_plausible("1,纯牛奶\n2,牛".encode("gb18030")[:-1], "gb18030")


def test_a_few_adjacent_letters_with_marks_are_western():
    """Three in a row are rather Chinese."""
    assert is_western("MÜÄ TÖÖLÖ – 5 €".encode("cp1252"))
    assert not is_western("纯牛奶".encode("gb18030"))
    assert not is_western("Kırmızı".encode("cp1254"))
