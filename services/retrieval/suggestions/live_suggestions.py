"""The suggestions of the live catalogue: those of the release, and of the items added since."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple
from weakref import ref

import numpy as np

from common.arrays import BoolMask, Float32Array, Float64Array, RowIndices
from common.text import folded, normalised
from services.retrieval.catalogue.delta import DeltaStorage
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.suggestions.segment import Matches, Segment
from services.retrieval.suggestions.typed_text import TypedText, check_limit

SuggestionKind = Literal["title", "category"]
# What beginning with the first typed word counts, against a popularity of 0 to 1.
_BEGINNING: Final = 0.5
# Documents that are read at first for each suggestion wanted: several items may have one title.
_READ_PER_SUGGESTION: Final = 4


@dataclass(frozen=True)
class Suggestion:
    """One suggestion.

    Attributes:
        text: The text to show and to search for.
        kind: What it is.
        item_id: The item of a title; empty for a category.
        corrected_words: How many words of the typed text were corrected.
        popularity: Its popularity, 0 to 1, relative to the most popular of its kind.
    """

    text: str
    kind: SuggestionKind
    item_id: str
    corrected_words: int
    popularity: float


class _Found(NamedTuple):
    """The matches of one segment, with a score to sort by: higher is better."""

    segment: Segment
    matches: Matches
    scores: Float64Array


def _found(segment: Segment, matches: Matches) -> _Found:
    popularity = segment.popularity[matches.documents].astype(np.float64)
    return _Found(segment, matches, popularity + _BEGINNING * matches.begins)


class LiveSuggestions:
    """Suggestions by prefix, with typos forgiven. Safe for threads.

    Items added since the release are indexed when the next text is completed, in segments of which the smaller ones are
    merged, so that an item is indexed O(log items) times. Items removed, replaced or sold out are left out by the mask
    of the snapshot.

    Args:
        snapshot: A snapshot of the catalogue, whose release is indexed now.
        popularity: The popularity of the release's items; shape [items of the release].
    """

    def __init__(self, snapshot: Snapshot, popularity: Float32Array) -> None:
        self._popularity = popularity
        table = snapshot.base.table
        categories = ["" if each is None else each for each in table["category"].to_pylist()]
        self._release = Segment(0, table["title"].to_pylist(), categories, popularity)
        self._added: tuple[Segment, ...] = ()
        self._storage: ref[DeltaStorage] | None = None
        self._lock = threading.Lock()

    def complete(self, typed: TypedText, limit: int, snapshot: Snapshot, allowed: BoolMask) -> list[Suggestion]:
        """Return at most ``limit`` suggestions, best first.

        Those without a corrected word come first, then those of which the first word is the first one typed, if they
        are not much less popular.

        Args:
            typed: What the user has typed.
            limit: How many to return.
            snapshot: The catalogue as it is now.
            allowed: Which rows may be suggested; shape [rows of the snapshot].

        Raises:
            InvalidRequest: The limit is out of bounds.
        """
        check_limit(limit)
        segments = (self._release, *self._segments_of(snapshot))
        masks = [each.allowed(allowed[each.first_row : each.first_row + each.rows]) for each in segments]
        suggestions: dict[str, Suggestion] = {}
        for find in (Segment.exact, Segment.one_corrected, Segment.all_corrected):
            if find is Segment.all_corrected and (suggestions or len(typed.words) == 1):
                break
            found = [_found(each, find(each, typed, mask)) for each, mask in zip(segments, masks, strict=True)]
            for suggestion in self._best_first(found, limit, snapshot):
                suggestions.setdefault(folded(suggestion.text), suggestion)
                if len(suggestions) == limit:
                    return list(suggestions.values())
        return list(suggestions.values())

    def _segments_of(self, snapshot: Snapshot) -> Sequence[Segment]:
        """Return segments of all items added since the release; indexes those that are new."""
        delta, base = snapshot.delta, len(snapshot.base)
        with self._lock:
            if self._storage is None or self._storage() is not delta.storage:
                self._added, self._storage = (), ref(delta.storage)
            indexed = sum(segment.rows for segment in self._added)
            if indexed < len(delta):
                self._added = self._merged(snapshot, [*self._added, self._segment(snapshot, base + indexed)])
            return self._added

    def _merged(self, snapshot: Snapshot, segments: list[Segment]) -> tuple[Segment, ...]:
        """Merge the last segments until each is more than twice as large as the next."""
        while len(segments) > 1 and segments[-2].rows <= 2 * segments[-1].rows:
            segments[-2:] = [self._segment(snapshot, segments[-2].first_row)]
        return tuple(segments)

    def _segment(self, snapshot: Snapshot, first_row: int) -> Segment:
        """Index the items of the delta from a row on."""
        first = first_row - len(snapshot.base)
        items = snapshot.delta.items[first : len(snapshot.delta)]
        origin = snapshot.delta.origin[first:]
        popularity = np.where(origin >= 0, self._popularity[origin], 0).astype(np.float32)
        titles, categories = [item.title for item in items], [item.category for item in items]
        return Segment(first_row, titles, categories, popularity, self._release.scale)

    def _best_first(self, found: Sequence[_Found], limit: int, snapshot: Snapshot) -> Iterator[Suggestion]:
        """Yield suggestions by falling score; reads few texts, and more only if they are needed."""
        scores = np.concatenate([each.scores for each in found])
        owners = np.repeat(np.arange(len(found)), [len(each.scores) for each in found])
        documents = np.concatenate([each.matches.documents for each in found])
        read, count = 0, _READ_PER_SUGGESTION * limit
        while read < len(scores):
            order = _highest(scores, count)[read:]
            for at in order.tolist():
                yield self._suggestion(found[owners[at]], int(documents[at]), snapshot)
            read, count = read + len(order), 4 * count

    def _suggestion(self, found: _Found, document: int, snapshot: Snapshot) -> Suggestion:
        segment, corrected = found.segment, found.matches.corrected
        popularity = float(segment.popularity[document])
        if document >= segment.rows:
            name = normalised(segment.category_names[document - segment.rows])
            return Suggestion(name, "category", "", corrected, popularity)
        row = segment.first_row + document
        base = len(snapshot.base)
        item_id = snapshot.base.item_ids[row] if row < base else snapshot.delta.item_id(row - base)
        title = snapshot.base.title(row) if row < base else snapshot.delta.items[row - base].title
        return Suggestion(normalised(title), "title", item_id, corrected, popularity)


def _highest(scores: Float64Array, count: int) -> RowIndices:
    """Return the positions of the ``count`` highest scores, falling, ties by position."""
    if count < len(scores):
        threshold = np.partition(scores, len(scores) - count)[len(scores) - count]
        above = np.flatnonzero(scores > threshold)
        equal = np.flatnonzero(scores == threshold)[: count - len(above)]
        positions = np.concatenate([above, equal])
    else:
        positions = np.arange(len(scores))
    return positions[np.lexsort((positions, -scores[positions]))]
