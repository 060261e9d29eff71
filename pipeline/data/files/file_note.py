"""How a file of a table is written, and what of it a reader should know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CERTAIN: Final = (None, "utf-8", "utf-8-sig", "utf-16", "utf-32")  # they check themselves, or begin with their mark


@dataclass(frozen=True)
class FileNote:
    """How a file is written.

    Attributes:
        file: The file.
        kind: Its suffix without the point.
        encoding: Of text, what it is written in.
        delimiter: Of delimited text, what parts its cells.
        compression: What it is packed with, or None.
        replaced: Characters that the file itself has lost (U+FFFD).
        ragged: Lines with more cells than the heading, which were left out.
        examples: Some of those lines.
        skipped: Lines before the heading, which were left out.
        headings: Rows equal to the heading, which were left out: parts were put together with theirs.
        example: A text beyond ASCII of a file whose encoding is not UTF-8.
        is_declared: Whether the encoding was given and not found.
    """

    file: Path
    kind: str
    encoding: str | None = None
    delimiter: str | None = None
    compression: str | None = None
    replaced: int = 0
    ragged: int = 0
    examples: tuple[str, ...] = ()
    skipped: int = 0
    headings: int = 0
    example: str = ""
    is_declared: bool = False

    def sentences(self) -> list[str]:
        """Return what is out of the ordinary of the file, one sentence each."""
        found = []
        if not self.is_declared and self.encoding not in _CERTAIN:
            found.append(
                f"{self.file.name} was read as {self.encoding}, such as {self.example!r}; set encoding in a mapping if "
                "that looks wrong."
            )
        if self.replaced:
            found.append(f"{self.file.name} has {self.replaced:,} characters that were lost before (U+FFFD).")
        if self.skipped:
            found.append(f"{self.file.name}: {self.skipped} lines before the heading were left out.")
        if self.headings:
            found.append(f"{self.file.name}: {self.headings:,} rows repeat the heading and were left out.")
        if self.ragged:
            found.append(
                f"{self.file.name}: {self.ragged:,} lines have more cells than the heading and were left out, such as "
                f"{self.examples[0]!r}."
            )
        return found
