"""Text files of any encoding and compression."""

from __future__ import annotations

import bz2
import gzip
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.text_files import TextFile, check_one_member, plain_suffix, read_text_file

GERMAN = "item_id,title\na,Müsli\nb,Mösli mit Äpfeln\n"
CHINESE = "item_id,title\na,纯牛奶 250ml\nb,巧克力牛奶\n"


def _text(read: TextFile) -> str:
    data = read.source if isinstance(read.source, bytes) else read.source.read_bytes()
    return data.decode("utf-8-sig")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "utf-8"),
        (GERMAN, "utf-8-sig"),
        (GERMAN, "utf-16"),
        (GERMAN, "utf-16-le"),
        (GERMAN, "utf-16-be"),
        (GERMAN, "utf-32"),
        (GERMAN, "cp1252"),
        (CHINESE, "gb18030"),
        ("item_id,title\na,新鲜纯牛奶手机茶 x0\n", "gb18030"),
        (CHINESE, "utf-8"),
        (CHINESE, "utf-16"),
    ],
)
def test_encodings_are_found(tmp_path: Path, text: str, encoding: str):
    """Each encoding gives the text that was written."""
    file = tmp_path / "items.csv"
    file.write_bytes(text.encode(encoding))
    assert _text(read_text_file(file)) == text


def _refuse(folder: Path, data: bytes, message: str, encoding: str | None = None) -> None:
    file = folder / "items.csv"
    file.write_bytes(data)
    with pytest.raises(BadDataset, match=rf"items\.csv{message}"):
        read_text_file(file, encoding)


@pytest.mark.parametrize(
    ("titles", "encoding"),
    [
        ("牛乳 ヨーグルト チョコレート 緑茶", "shift_jis"),
        ("牛乳 ヨーグルト チョコレート 緑茶", "euc_jp"),
        ("純牛奶 優格 巧克力牛奶 綠茶", "big5"),
        ("우유와 요구르트, 초콜릿 그리고 녹차와 커피 그리고 빵", "euc_kr"),
        ("Молоко Хлеб Сыр", "cp1251"),
        ("Żółty ser", "cp1250"),
    ],
)
def test_encodings_that_look_like_others_are_refused(tmp_path: Path, titles: str, encoding: str):
    """The message asks for the encoding, and a declared one is read."""
    data = f"id,title\n1,{titles}\n".encode(encoding)
    _refuse(tmp_path, data, " is neither UTF-8, .*name its encoding")
    assert titles in _text(read_text_file(tmp_path / "items.csv", encoding))


def test_adjacent_letters_with_marks_are_western(tmp_path: Path):
    """Pairs of bytes are not always Chinese."""
    (tmp_path / "items.csv").write_bytes("id,title\n1,MÜÄ TÖÖLÖ\n".encode("cp1252"))
    assert read_text_file(tmp_path / "items.csv").encoding == "cp1252"


def test_a_few_strange_western_words_are_read(tmp_path: Path):
    """The detector finds no encoding in them, but every letter is one of western text."""
    (tmp_path / "items.csv").write_bytes("id,title\n00,Frühstück für Männer x;XXää\n".encode("cp1252"))
    assert read_text_file(tmp_path / "items.csv").encoding == "cp1252"


def test_files_that_are_no_text_of_one_encoding_are_refused(tmp_path: Path):
    """Two encodings in a file, null bytes, a wrong declaration and packed files have their own messages."""
    mixed = "1,Müsli\n".encode() + "2,Mösli\n".encode("cp1252")
    _refuse(tmp_path, mixed, r" is UTF-8 in some lines and not in others, such as b'2,M\\xf6sli'")
    _refuse(tmp_path, b"id\n1\n2\0\n", ", line 3: a null byte")
    _refuse(tmp_path, "id\n1\nü\n".encode("cp1252"), ", line 3: not text in utf-8", "utf-8")
    _refuse(tmp_path, b"\xef\xbb\xbfid\n\xfc\n", ", line 2: not text in utf-8")
    _refuse(tmp_path, b"id\n", ": there is no encoding 'hex'", "hex")
    _refuse(tmp_path, gzip.compress(b"id\n"), r" holds no text but gzip \(\.gz\)")


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst", ".zip", ".GZ"])
def test_packed_files_are_unpacked(tmp_path: Path, suffix: str):
    """The suffix says how, in any case."""
    file = tmp_path / f"items.csv{suffix}"
    data = GERMAN.encode("cp1252")
    match suffix.lower():
        case ".gz":
            file.write_bytes(gzip.compress(data))
        case ".bz2":
            file.write_bytes(bz2.compress(data))
        case ".zst":
            file.write_bytes(pa.Codec("zstd").compress(data, asbytes=True))
        case _:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("items.csv", data)
    read = read_text_file(file)
    assert (_text(read), read.encoding) == (GERMAN, "cp1252")
    assert plain_suffix(file) == ".csv"


def test_old_line_ends_become_new_ones(tmp_path: Path):
    """A file of an old Mac has lines too."""
    file = tmp_path / "items.csv"
    file.write_bytes(GERMAN.replace("\n", "\r").encode())
    assert _text(read_text_file(file)) == GERMAN


def test_lost_characters_are_counted(tmp_path: Path):
    """U+FFFD is what another program made of text that it could not read."""
    file = tmp_path / "items.csv"
    file.write_text("a,M\N{REPLACEMENT CHARACTER}sli\n" * 3, encoding="utf-8")
    assert read_text_file(file).replaced == 3


def test_a_declared_encoding_is_taken_and_checked(tmp_path: Path):
    """What is declared goes before what is found; text that it does not fit is refused with its line."""
    file = tmp_path / "items.csv"
    file.write_bytes("a,Молоко\n".encode("cp1251"))
    assert _text(read_text_file(file, "cp1251")) == "a,Молоко\n"
    with pytest.raises(BadDataset, match=r"items\.csv, line 1: not text in ascii"):
        read_text_file(file, "ascii")
    with pytest.raises(BadDataset, match="there is no encoding 'latin-xyz'"):
        read_text_file(file, "latin-xyz")


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.csv.gz", b"no gzip"), ("a.csv.zip", b"no zip"), ("a.csv.gz", gzip.compress(b"x" * 9_999)[:-9])],
    ids=["no gzip", "no zip", "cut off"],
)
def test_broken_archives_are_named(tmp_path: Path, name: str, data: bytes):
    """A file that is cut off or of another kind is refused by name."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadDataset, match=f"{name} cannot be read"):
        read_text_file(tmp_path / name)


def test_an_archive_of_several_files_is_refused(tmp_path: Path):
    """Nobody is to guess which one is meant."""
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w") as archive:
        archive.writestr("one.csv", "a")
        archive.writestr("two.csv", "b")
    with pytest.raises(BadDataset, match=r"holds 2 files \(one.csv, two.csv\); unpack it"):
        read_text_file(tmp_path / "a.csv.zip")


def test_an_archive_is_of_the_kind_of_its_only_file(tmp_path: Path):
    """A name such as items.zip does not say it; one of several files has no kind."""
    for name, members in (("one.zip", ["items.csv"]), ("two.zip", ["items.csv", "events.csv"])):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member in members:
                archive.writestr(member, "item_id,title\na,Tea\n")
    assert (plain_suffix(tmp_path / "one.zip"), plain_suffix(tmp_path / "two.zip")) == (".csv", "")
    assert _text(read_text_file(tmp_path / "one.zip")).startswith("item_id")
    with pytest.raises(BadDataset, match=r"two\.zip holds 2 files \(items\.csv, events\.csv\); unpack it"):
        check_one_member(tmp_path / "two.zip")
