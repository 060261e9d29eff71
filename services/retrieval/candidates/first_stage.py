"""The first stage: finds candidates for users in a catalogue that changes while it is searched."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from common.cpu import usable_cores
from common.onnx_session import SessionOptions
from common.release.store import Release
from services.retrieval.ann.ann_index import IndexType
from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.candidates.candidate_generator import CandidateGenerator
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.release_settings import FirstStageSettings
from services.retrieval.candidates.request import Request, check_request
from services.retrieval.candidates.source_factory import make_sources
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.item_validation import check_ids, check_items
from services.retrieval.catalogue.item_vectors import ItemVectors
from services.retrieval.catalogue.live_catalogue import ChangeCounts, LiveCatalogue
from services.retrieval.catalogue.long_tail import LongTail
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.changes.change import Change
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.changes.local_feed import LocalFeed
from services.retrieval.encoding.item_encoder import ItemEncoder
from services.retrieval.encoding.query_encoder import QueryEncoder, QueryEncoderOptions
from services.retrieval.maintenance.background_worker import MaintenanceWorker
from services.retrieval.maintenance.recall_monitor import RecallMonitor, RecallSample
from services.retrieval.search.item_filter import ItemFilter
from services.retrieval.search.item_search import ItemSearch
from services.retrieval.sources.popular import PopularSource

# Vectors that are audited at a time: some twenty milliseconds.
_AUDITED: Final = 64


@dataclass(frozen=True)
class FirstStageOptions:
    """How a server runs a first stage, whatever the release.

    Attributes:
        session: How the encoder's ONNX session is made.
        ef_search: Length of HNSW's candidate list.
        milvus: Where Milvus searches the release's vectors; None searches them here.
        depth: How many items each source draws at least; a small limit finds the beginning of a larger one's.
        neighbours_cached: How many history items' neighbours are remembered.
        queries: Bounds of the query encoder; its prefix comes from the release.
        threads: Threads that search, 0 for every core.
        recall_share: The share of searches through the graph that are answered exactly as well, in the background.
        on_recall: Told the recall of each of them.
        audit_share: What the audit of the graphs may take of one core; 0 for no audit.
        on_batch: Told how many queries each encoder pass took.
    """

    session: SessionOptions = field(default_factory=SessionOptions)
    ef_search: int = 300
    milvus: str | None = None
    depth: int = 100
    neighbours_cached: int = 20_000
    queries: QueryEncoderOptions = field(default_factory=QueryEncoderOptions)
    threads: int = 0
    recall_share: float = 0.0
    on_recall: Callable[[float], None] | None = None
    audit_share: float = 0.02
    on_batch: Callable[[int], None] | None = None


class FirstStage:
    """One release's first stage. Safe for threads.

    Args:
        parts: What the release gives.
        options: How to run it.
        feed: Where changes of the catalogue come from and go to; None for a first stage that never changes.

    Attributes:
        threads: How many threads search.
        pool: Those threads: searching releases the GIL, and must not run on an event loop.
        writer: The thread that changes the catalogue, apart, so that embedding many items holds up no search.
        queries: Embeds queries.
        tail: Tells which items are of the long tail.
        replayed: How many changes made before were put on top of the release.
    """

    def __init__(
        self, parts: ReleaseArtifacts, options: FirstStageOptions | None = None, feed: ChangeFeed | None = None
    ) -> None:
        self._options = options or FirstStageOptions()
        self._parts = parts
        self._settings = parts.settings
        self._item_encoder = ItemEncoder(
            parts.encoder, parts.settings.item_prefix, parts.catalogue, parts.vectors, parts.vector_of_item
        )
        self._feed = feed or LocalFeed(None)
        vectors = ItemVectors(parts.vector_of_item, len(parts.vectors), parts.popularity)
        self._nearest = ItemSearch(parts.index, parts.vectors, vectors, self._options.neighbours_cached)
        popular = PopularSource(parts.popularity)
        self.tail = LongTail(parts.popularity)
        self._sources = make_sources(parts, self._nearest, popular)
        self._catalogue = LiveCatalogue(parts.catalogue, parts.index.dimension, parts.vectors_of, self._nearest.codes)
        self._filter = ItemFilter(parts.catalogue.table.select(parts.catalogue.attributes()), vectors)
        self._search = CandidateGenerator(
            parts.settings, self._sources, popular, vectors, self._filter, self._options.depth, parts.catalogue
        )
        self._upkeep = MaintenanceWorker(self._tend, self._audit, self._options.audit_share)
        self.replayed = self._feed.subscribe(self)
        self._upkeep.start()
        self._recall = self._watched()
        self.threads = self._options.threads or usable_cores()
        self.pool = ThreadPoolExecutor(self.threads, thread_name_prefix="search")
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        queries = dataclasses.replace(self._options.queries, prefix=parts.settings.query_prefix)
        self.queries = QueryEncoder(parts.encoder, queries, self._options.on_batch)

    @classmethod
    def load(
        cls, release: Release, options: FirstStageOptions | None = None, feed: ChangeFeed | None = None
    ) -> FirstStage:
        """Load a release's first stage, with every change of the catalogue on top, and warm it up.

        Raises:
            BadRelease: A part is missing or the parts do not fit together.
        """
        options = options or FirstStageOptions()
        stage = cls(ReleaseArtifacts.load(release, options.session, options.ef_search, options.milvus), options, feed)
        try:
            stage.retrieve([Request(query="warm up", history_item_ids=stage.view.base.item_ids[:1])])
        except Exception:
            stage.close()  # its threads and its place at the feed would outlive the failure
            raise
        return stage

    @property
    def sources(self) -> list[str]:
        """The names of the sources, in alphabetical order."""
        return sorted(self._sources)

    @property
    def dimension(self) -> int:
        """How many numbers an embedding has."""
        return self._parts.index.dimension

    @property
    def index_type(self) -> IndexType:
        """What searches the release's vectors."""
        return self._parts.index.index_type

    @property
    def provider(self) -> str:
        """The execution provider that runs the encoder."""
        return self._parts.encoder.provider

    @property
    def settings(self) -> FirstStageSettings:
        """What the release says of its first stage."""
        return self._settings

    @property
    def view(self) -> Snapshot:
        """The catalogue as it is now."""
        return self._catalogue.view

    def check(self, request: Request) -> None:
        """Raise InvalidRequest, naming the field, where a request can't be answered."""
        check_request(request, self.dimension, self.sources)
        if request.filter is not None:
            self._filter.check(request.filter)

    def retrieve(self, requests: Sequence[Request]) -> list[Candidates]:
        """Check requests, embed their queries and search; one answer a request.

        Raises:
            InvalidRequest: A request can't be answered; nothing was searched.
        """
        for request in requests:
            self.check(request)
        vectors = iter(self.queries.encode([request.text for request in requests if request.has_text]))
        ready = [request.embedded(next(vectors)) if request.has_text else request for request in requests]
        return self.search(ready, self.view)

    def search(self, requests: Sequence[Request], view: Snapshot) -> list[Candidates]:
        """Answer requests that `check` passed and whose queries have their vectors, in one state of the catalogue."""
        return self._search.answer(requests, view)

    def upsert(self, items: Sequence[Item]) -> ChangeCounts:
        """Add items or replace them whole; durable and visible when this returns.

        Raises:
            InvalidRequest: An item breaks a limit; nothing was changed.
            NotReady: The change can't be stored; nothing was changed.
        """
        check_items(items, self.dimension)
        return self._feed.commit(
            Change(tuple(items), self._item_encoder.encode_items(items), self._parts.encoder_id), self
        )

    def delete(self, item_ids: Sequence[str]) -> ChangeCounts:
        """Remove items; durable and visible when this returns. An id that is given twice counts once.

        Raises:
            InvalidRequest: No id, too many, or an id that can't be one; nothing was changed.
            NotReady: The change can't be stored; nothing was changed.
        """
        check_ids("item_ids", item_ids)
        distinct = tuple(dict.fromkeys(item_ids))
        return self._feed.commit(
            Change((), self._item_encoder.encode_items([]), self._parts.encoder_id, distinct), self
        )

    def read(self, item_ids: Sequence[str]) -> list[Item | None]:
        """Read items, None for those that the catalogue does not have; raises InvalidRequest as `delete` does."""
        check_ids("item_ids", item_ids)
        view = self.view
        rows = view.rows_of(item_ids)
        found = iter(view.read(rows[rows >= 0]))
        return [None if row < 0 else next(found) for row in rows.tolist()]

    def apply(self, change: Change) -> ChangeCounts:
        """Show a change to every search from now on; the feed calls this.

        Vectors of another encoder can't be compared with this release's: such items are embedded again from their
        text, also where their vector was given.
        """
        same = change.encoder == self._parts.encoder_id or not change.items
        vectors = change.vectors if same else self._item_encoder.encode_texts([item.text for item in change.items])
        applied = self._catalogue.apply(change.items, vectors, change.deleted)
        self._upkeep.look()
        return applied

    def tend(self) -> None:
        """Wait until everything is done that is due in the background after the changes so far."""
        self._upkeep.finish()

    @property
    def unreachable(self) -> int:
        """How many vectors the audit has found that the graphs do not lead to; searches find them all the same."""
        return self._nearest.unreachable(self.view)

    @property
    def audit_due(self) -> int:
        """How many vectors are yet to be audited."""
        return self._nearest.audit_due(self.view)

    def audit(self) -> None:
        """Audit whatever is due of the graphs, and wait for it and for the repair of what it finds."""
        self._upkeep.audit_all()

    def close(self, *, discard: bool = False) -> None:
        """Finish what was begun, and let go of threads, of the feed and of the index.

        Args:
            discard: Whether to remove what the index keeps outside of this process, since nobody will ask for this
                release soon. Activating it later makes it anew.
        """
        self.writer.shutdown()  # changes whose callers went away are finished first
        self.pool.shutdown()
        self._feed.unsubscribe(self)
        self._upkeep.close()
        if self._recall is not None:
            self._recall.close()
        self._item_encoder.close()
        self.queries.close()
        self._parts.index.close(discard=discard)

    def search_with(self, ef_search: int) -> None:
        """Change the length of HNSW's candidate list for searches from now on."""
        self._nearest.set_ef_search(ef_search, self.view)

    def _watched(self) -> RecallMonitor | None:
        """Begin to sample the recall of searches, where that is wished for."""
        share, tell = self._options.recall_share, self._options.on_recall
        if not share or tell is None:
            return None
        watching = RecallMonitor(share, self._nearest.exact, tell)
        self._nearest.watch = lambda *search: watching.offer(RecallSample(*search))
        return watching

    def _tend(self) -> bool:
        """Do one thing that is due in the background, what is added before all else; returns whether there was one."""
        return self._catalogue.tend() or self._nearest.tend(self.view, self._catalogue.let_go, self._catalogue.tend)

    def _audit(self) -> bool:
        """Audit a few vectors of the graphs; returns whether any are left."""
        return self._nearest.audit(self.view, _AUDITED)
