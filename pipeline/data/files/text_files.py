"""Text files as UTF-8 with plain line ends, whatever their compression and encoding."""

from __future__ import annotations

import codecs
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from charset_normalizer import from_bytes

from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.encodings import is_plausible, is_western

COMPRESSIONS: Final = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".zip": "zip"}
# Encodings that are detected. With more candidates, German is taken for Polish and Chinese for Korean.
ENCODINGS: Final = ("cp1252", "gb18030")

_BOMS: Final = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_PACKED_KINDS: Final = {
    b"\x1f\x8b": "gzip (.gz)",
    b"PK\x03\x04": "a zip archive (.zip) or a workbook (.xlsx)",
    b"\x28\xb5\x2f\xfd": "zstd (.zst)",
    b"BZh": "bzip2 (.bz2)",
    b"PAR1": "Parquet (.parquet)",
    b"\xd0\xcf\x11\xe0": "an old workbook (.xls; save it as .xlsx)",
}
_CHUNK_BYTES: Final = 1 << 20
_SAMPLE_BYTES: Final = 1 << 16
# Every other byte of a text in UTF-16 that is mostly ASCII is zero.
_ZERO_SHARE: Final = 0.3
_MIN_PAIRED_SHARE: Final = 0.8


@dataclass(frozen=True)
class TextFile:
    """A text file, ready for a reader of UTF-8.

    Attributes:
        source: The file itself where it is UTF-8 as it lies, else its text in memory.
        encoding: What it is written in, by Python's name.
        replaced: How many characters the file itself has lost: U+FFFD.
        compression: `gzip`, `zstd`, `bz2`, `zip` or None.
        example: A line beyond ASCII of a text that is not UTF-8.
    """

    source: Path | bytes
    encoding: str
    replaced: int
    compression: str | None
    example: str = ""


def plain_suffix(file: Path) -> str:
    """Return the suffix that says what a file holds, in lower case, without that of its compression.

    That of `items.zip` is the suffix of its only file; empty if it holds several.
    """
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
        if file.suffix.lower() == ".zip" and not suffixes:
            members = _members(file)
            return Path(members[0]).suffix.lower() if len(members) == 1 else ""
    return suffixes[-1] if suffixes else ""


def read_text_file(file: Path, encoding: str | None = None) -> TextFile:
    """Find out how a text file is written, and make it UTF-8 with plain line ends where it is not.

    Args:
        file: The file; `.gz`, `.zst`, `.bz2` or `.zip` (of one file) is unpacked.
        encoding: What it is written in; None finds it among UTF-8, UTF-16, UTF-32, cp1252 and GB18030.

    Raises:
        BadDataset: The file cannot be unpacked, or is not text in the encoding.
    """
    compression = COMPRESSIONS.get(file.suffix.lower())
    found = _checked(file, encoding) if encoding else _find_encoding(file)
    utf8 = found in {"utf-8", "utf-8-sig"}
    with open_unpacked(file) as stream:
        head = stream.read(_SAMPLE_BYTES)
        if utf8 and (encoding or found == "utf-8-sig") and _lines_beyond_utf8(file):
            _decoded(head + stream.read(), "utf-8", file)
    old_line_ends = utf8 and _has_old_line_ends(head)
    replaced = _count_replaced(file) if utf8 else 0
    if utf8 and compression is None and not old_line_ends:
        return TextFile(file, found, replaced, compression)
    with open_unpacked(file) as stream:
        data = stream.read()
    example = ""
    if not utf8:
        text = _decoded(data, found, file)
        replaced = text.count("\N{REPLACEMENT CHARACTER}")
        strange = re.search(r".*[^\x00-\x7f].*", text)
        example = strange.group()[:60].strip() if strange else ""
        data = text.encode()
        _refuse_null_bytes(data, 1, file)
        old_line_ends = _has_old_line_ends(data[:_SAMPLE_BYTES])
    source = _with_new_line_ends(data) if old_line_ends else data
    return TextFile(source, found, replaced, compression, example)


def _has_old_line_ends(head: bytes) -> bool:
    """Return whether the first line ends in a carriage return alone."""
    end = re.search(rb"\r*\n|\r", head)
    return end is not None and end.group() == b"\r"


def _with_new_line_ends(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _refuse_null_bytes(data: bytes, first_line: int, file: Path) -> None:
    place = data.find(b"\0")
    if place >= 0:
        line = first_line + data.count(b"\n", 0, place)
        raise BadDataset(
            f"{file}, line {line}: a null byte, which no text holds; export the "
            "file again, or name its encoding in the mapping"
        )


@contextmanager
def open_unpacked(file: Path) -> Iterator[Any]:
    """Open a file as the bytes that it holds unpacked."""
    compression = COMPRESSIONS.get(file.suffix.lower())
    try:
        if compression == "zip":
            with zipfile.ZipFile(file) as archive, archive.open(_only_member(archive, file)) as stream:
                yield stream
        else:
            with pa.input_stream(str(file), compression=compression) as stream:
                yield stream
    except (zipfile.BadZipFile, EOFError, OSError, pa.ArrowException) as error:
        raise BadDataset(f"{file} cannot be read{f' as {compression}' if compression else ''}: {error}") from error


def check_one_member(file: Path) -> None:
    """Raise BadDataset if a zip archive cannot be read or holds more than one file."""
    with open_unpacked(file):
        pass


def _only_member(archive: zipfile.ZipFile, file: Path) -> str:
    members = _tables_of(archive)
    if len(members) != 1:
        raise BadDataset(f"{file} holds {len(members)} files ({', '.join(members[:5])}); unpack it into a folder")
    return members[0]


def _members(file: Path) -> list[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            return _tables_of(archive)
    except (zipfile.BadZipFile, OSError):  # reading it says so
        return []


def _tables_of(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]


def _find_encoding(file: Path) -> str:
    with open_unpacked(file) as stream:
        head = stream.read(_SAMPLE_BYTES)
    for mark, name in _BOMS.items():
        if head.startswith(mark):
            return name
    for mark, kind in _PACKED_KINDS.items():
        if head.startswith(mark):
            raise BadDataset(f"{file} holds no text but {kind}; give it the suffix of what it is")
    zeros = [head[start::2].count(0) / max(1, len(head) // 2) for start in (0, 1)]
    if max(zeros) > _ZERO_SHARE:
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    strange = _lines_beyond_utf8(file)
    if not strange:
        return "utf-8"
    best = from_bytes(strange, cp_isolation=list(ENCODINGS)).best()
    found = best.encoding if best else "gb18030" if _is_gb2312(strange) else None  # it finds nothing in a line or two
    _refuse_mixed(strange, found, file)
    if found and is_plausible(strange, found):
        return found
    if is_western(strange):
        return "cp1252"
    raise BadDataset(
        f"{file} is neither UTF-8, UTF-16, {' nor '.join(ENCODINGS)}; name its encoding in the mapping "
        f"(a line of it: {strange.splitlines()[0][:60]!r})"
    )


def _refuse_mixed(lines: bytes, found: str | None, file: Path) -> None:
    """Raise BadDataset if lines beyond ASCII are UTF-8 and others are not; a few pairs of GB18030 are both."""
    broken = [line for line in lines.splitlines() if not _is_utf8(line)]
    valid = len(lines.splitlines()) - len(broken)
    if valid > (1 + len(broken) / 10 if found == "gb18030" else 0):
        raise BadDataset(
            f"{file} is UTF-8 in some lines and not in others, such as {broken[0][:60]!r}; export it in one encoding"
        )


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_gb2312(data: bytes) -> bool:
    """Return whether bytes beyond ASCII are pairs of GB2312's common characters, as in no text of single bytes."""
    pairs = 2 * len(re.findall(rb"[\xb0-\xf7][\xa1-\xfe]", data))
    return pairs >= _MIN_PAIRED_SHARE * sum(byte > 0x7F for byte in data)  # noqa: PLR2004 - the last of ASCII


def _lines_beyond_utf8(file: Path) -> bytes:
    """Return lines beyond ASCII of a file that is not UTF-8, up to a sample's size; empty where it is UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    with open_unpacked(file) as stream:
        try:
            while chunk := stream.read(_CHUNK_BYTES):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            pass
        else:
            return b""
    kept: list[bytes] = []
    size, rest = 0, b""
    with open_unpacked(file) as stream:
        while size < _SAMPLE_BYTES and (chunk := stream.read(_CHUNK_BYTES)):
            *lines, rest = (rest + chunk).splitlines(keepends=True)
            for line in lines if len(chunk) == _CHUNK_BYTES else [*lines, rest]:
                if not line.isascii():
                    kept.append(line)
                    size += len(line)
    return b"".join(kept)[: 2 * _SAMPLE_BYTES]


def _checked(file: Path, encoding: str) -> str:
    try:
        b" ".decode(encoding, errors="ignore")  # some codecs, such as hex, are none of text
        return codecs.lookup(encoding).name
    except (LookupError, UnicodeError):
        raise BadDataset(f"{file}: there is no encoding {encoding!r}; try utf-8, utf-16, cp1252 or gb18030") from None


def _decoded(data: bytes, encoding: str, file: Path) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadDataset(
            f"{file}, line {line}: not text in {encoding} ({data[error.start : error.start + 8]!r})"
        ) from error


def _count_replaced(file: Path) -> int:
    mark = "\N{REPLACEMENT CHARACTER}".encode()
    count, rest, line = 0, b"", 1
    with open_unpacked(file) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            _refuse_null_bytes(chunk, line, file)
            line += chunk.count(b"\n")
            data = rest + chunk
            count += data.count(mark)
            rest = data[-2:]  # a mark of three bytes may be cut
    return count
