"""Changes the live catalogue: checks and embeds items, makes the change durable, and shows it to searches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.item_validation import check_ids, check_items
from services.retrieval.catalogue.live_catalogue import ChangeCounts, LiveCatalogue
from services.retrieval.changes.change import Change
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.encoding.item_encoder import ItemEncoder
from services.retrieval.maintenance.maintenance_worker import MaintenanceWorker

_MAX_ITEMS: Final = 1_000  # in one change


class CatalogueWriter:
    """Writes to one release's catalogue; implements `ChangeListener`. Safe for threads.

    Args:
        catalogue: The catalogue.
        encoder: Embeds items.
        encoder_id: SHA-256 of the encoder's model.
        dimension: The encoder's.
        feed: Makes changes durable, and delivers those of other servers.
        maintenance: Is woken after each change.

    Attributes:
        pool: One thread for writing, so that embedding many items holds up no search.
    """

    def __init__(
        self,
        catalogue: LiveCatalogue,
        encoder: ItemEncoder,
        encoder_id: str,
        dimension: int,
        feed: ChangeFeed,
        maintenance: MaintenanceWorker,
    ) -> None:
        self._catalogue = catalogue
        self._encoder = encoder
        self._encoder_id = encoder_id
        self._dimension = dimension
        self._feed = feed
        self._maintenance = maintenance
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="writer")

    def subscribe(self) -> int:
        """Apply every change made so far, and receive new ones; returns how many there were."""
        return self._feed.subscribe(self)

    def upsert(self, items: Sequence[Item]) -> ChangeCounts:
        """Add items, or replace them whole. The change is durable and visible when this returns.

        Raises:
            InvalidRequest: An item breaks a limit; nothing was changed.
            NotReady: The change can't be stored; nothing was changed.
        """
        check_items(items, self._dimension)
        return self._feed.commit(Change(tuple(items), self._encoder.encode_items(items), self._encoder_id), self)

    def delete(self, item_ids: Sequence[str]) -> ChangeCounts:
        """Delete items. The change is durable and visible when this returns. A repeated id counts once.

        Raises:
            InvalidRequest: There is no id, too many, or an invalid one; nothing was changed.
            NotReady: The change can't be stored; nothing was changed.
        """
        check_ids("item_ids", item_ids)
        distinct = tuple(dict.fromkeys(item_ids))
        return self._feed.commit(Change((), self._encoder.encode_items([]), self._encoder_id, distinct), self)

    def apply(self, change: Change) -> ChangeCounts:
        """Make a change visible to every search from now on; the feed calls this.

        Vectors of another encoder can't be compared with this release's. Such items are embedded again from their text,
        even if their vector was given.
        """
        is_comparable = change.encoder == self._encoder_id or not change.items
        vectors = change.vectors if is_comparable else self._encoder.encode_texts([item.text for item in change.items])
        counts = self._catalogue.apply(change.items, vectors, change.deleted)
        self._maintenance.wake()
        return counts

    def changes_since_release(self) -> Iterator[Change]:
        """Yield changes that lead from the release to the catalogue of now; see `HoldsChanges`."""
        snapshot = self._catalogue.snapshot
        live = np.flatnonzero(snapshot.delta_is_live)
        for start in range(0, len(live), _MAX_ITEMS):
            rows = live[start : start + _MAX_ITEMS]
            items = tuple(snapshot.delta.items[row] for row in rows.tolist())
            yield Change(items, snapshot.delta.vectors[rows], self._encoder_id)
        if snapshot.current_row is not None:
            gone = np.flatnonzero(snapshot.current_row < 0)
            no_vectors = np.empty((0, self._dimension), dtype=np.float32)
            for start in range(0, len(gone), _MAX_ITEMS):
                deleted = tuple(snapshot.item_ids(gone[start : start + _MAX_ITEMS]))
                yield Change((), no_vectors, self._encoder_id, deleted)

    def finish(self) -> None:
        """Finish changes under way, also those whose callers went away; no further one may be begun."""
        self.pool.shutdown()

    def close(self) -> None:
        """Receive no more changes, and end the encoder's thread; after `finish`."""
        self._feed.unsubscribe(self)
        self._encoder.close()
