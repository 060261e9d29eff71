"""The first stage: finds candidates for users in a catalogue that changes while it is searched."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from common.arrays import Float32Array
from common.cpu import usable_cores
from common.onnx_session import SessionOptions
from common.release.store import Release
from services.retrieval.ann.ann_index import IndexType
from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.candidates.candidate_generator import CandidateGenerator
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.catalogue_writer import CatalogueWriter
from services.retrieval.candidates.release_settings import FirstStageSettings
from services.retrieval.candidates.request import Request, check_request
from services.retrieval.candidates.source_factory import make_sources
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.item_validation import check_ids
from services.retrieval.catalogue.item_vectors import ItemVectors
from services.retrieval.catalogue.live_catalogue import LiveCatalogue
from services.retrieval.catalogue.long_tail import LongTail
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.changes.local_feed import LocalFeed
from services.retrieval.encoding.item_encoder import ItemEncoder
from services.retrieval.encoding.query_encoder import QueryEncoder, QueryEncoderOptions
from services.retrieval.maintenance.delta_compaction import DeltaCompaction, DeltaCompactionOptions
from services.retrieval.maintenance.index_maintenance import IndexMaintenance, IndexMaintenanceOptions
from services.retrieval.maintenance.maintenance_worker import MaintenanceWorker
from services.retrieval.maintenance.recall_monitor import RecallMonitor, RecallSample
from services.retrieval.search.item_filter import ItemFilter
from services.retrieval.search.item_search import ItemSearch, ItemSearchOptions
from services.retrieval.sources.popular import PopularSource
from services.retrieval.spelling.query_repair import QueryRepair
from services.retrieval.suggestions.live_suggestions import LiveSuggestions


@dataclass(frozen=True)
class FirstStageOptions:
    """How a server runs a first stage, whatever the release.

    Attributes:
        session: How the encoder's ONNX session is made.
        ef_search: Length of HNSW's candidate list.
        milvus: Address of the Milvus that searches the release's vectors; None searches them in this process.
        depth: How many items each source retrieves at least; the first of them answer a smaller limit.
        neighbours_cached: How many history items' neighbours are cached.
        queries: Bounds of the query encoder; its prefix comes from the release.
        threads: Threads that search, 0 for every core.
        recall_share: Fraction of the searches by HNSW or PQ that are also answered exactly, in the background.
        on_recall: Receives the recall of each of them.
        audit_share: Fraction of one core that the audit for unreachable vectors may take; 0 for no audit.
        on_batch: Receives the number of queries of each encoder pass.
        search: When cached neighbours are used.
        delta_compaction: When the delta is compacted.
        index_maintenance: When the release's index is rebuilt.
        suggestions: Whether texts can be completed, which takes about 800 bytes for each item (760 in the demo).
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
    search: ItemSearchOptions = field(default_factory=ItemSearchOptions)
    delta_compaction: DeltaCompactionOptions = field(default_factory=DeltaCompactionOptions)
    index_maintenance: IndexMaintenanceOptions = field(default_factory=IndexMaintenanceOptions)
    suggestions: bool = False


class FirstStage:
    """One release's first stage. Safe for threads.

    Args:
        artifacts: The release's.
        options: How to run it.
        feed: Delivers changes of the catalogue; None for a first stage that never changes.

    Attributes:
        threads: How many threads search.
        pool: Those threads: a search releases the GIL, and must not run on an event loop.
        writer: Changes the catalogue.
        query_encoder: Embeds queries.
        long_tail: Knows which items belong to the long tail.
        replayed_changes: How many earlier changes were applied to the release.
        item_filter: Evaluates filters.
        suggestions: Completes texts, once the release's titles are indexed; None if it is not to.
    """

    def __init__(
        self, artifacts: ReleaseArtifacts, options: FirstStageOptions | None = None, feed: ChangeFeed | None = None
    ) -> None:
        self._options = options = options or FirstStageOptions()
        self._artifacts = artifacts
        items = ItemVectors(artifacts.vector_of_item, len(artifacts.vectors), artifacts.popularity)
        self._item_search = ItemSearch(
            artifacts.index, artifacts.vectors, items, options.neighbours_cached, options.search
        )
        titles = artifacts.titles
        self._repair = QueryRepair(titles, artifacts.encoder.words) if titles is not None and titles.spellings else None
        self._catalogue = LiveCatalogue(artifacts.catalogue, artifacts.index.dimension, artifacts.vectors_of)
        popular = PopularSource(artifacts.popularity)
        self.long_tail = LongTail(artifacts.popularity)
        self._sources = make_sources(artifacts, self._item_search, popular)
        self.item_filter = ItemFilter(artifacts.catalogue.table.select(artifacts.catalogue.attributes()), items)
        self._generator = CandidateGenerator(
            artifacts.settings, self._sources, popular, items, self.item_filter, options.depth, artifacts.catalogue
        )
        self._index_maintenance = IndexMaintenance(
            self._catalogue, self._item_search, items, artifacts.vectors, options.index_maintenance
        )
        compaction = DeltaCompaction(self._catalogue, self._item_search, options.delta_compaction)
        self._maintenance = MaintenanceWorker(
            [compaction, self._index_maintenance], self._index_maintenance, options.audit_share
        )
        self.writer = CatalogueWriter(
            self._catalogue,
            ItemEncoder(
                artifacts.encoder,
                artifacts.settings.item_prefix,
                artifacts.catalogue,
                artifacts.vectors,
                artifacts.vector_of_item,
            ),
            artifacts.encoder_id,
            artifacts.index.dimension,
            feed or LocalFeed(None),
            self._maintenance,
        )
        self.replayed_changes = self.writer.subscribe()
        self._maintenance.start()
        self._recall_monitor = self._new_recall_monitor()
        self.threads = options.threads or usable_cores()
        self.pool = ThreadPoolExecutor(self.threads, thread_name_prefix="search")
        self._indexing = ThreadPoolExecutor(1, thread_name_prefix="suggestions")
        self.suggestions: Future[LiveSuggestions] | None = None
        if options.suggestions:
            # Takes about two seconds of processor time for each 100,000 items, in which the release is served already.
            self.suggestions = self._indexing.submit(LiveSuggestions, self.snapshot, artifacts.popularity)
        queries = dataclasses.replace(options.queries, prefix=artifacts.settings.query_prefix)
        self.query_encoder = QueryEncoder(artifacts.encoder, queries, options.on_batch)

    @classmethod
    def load(
        cls, release: Release, options: FirstStageOptions | None = None, feed: ChangeFeed | None = None
    ) -> FirstStage:
        """Load a release's first stage, apply every earlier change of the catalogue, and warm it up.

        Raises:
            BadRelease: An artifact is missing, or the artifacts contradict one another.
        """
        options = options or FirstStageOptions()
        stage = cls(ReleaseArtifacts.load(release, options.session, options.ef_search, options.milvus), options, feed)
        try:
            stage.retrieve([Request(query="warm up", history_item_ids=stage.snapshot.base.item_ids[:1])])
        except Exception:
            stage.close()  # its threads and its subscription would outlive the failure
            raise
        return stage

    @property
    def sources(self) -> list[str]:
        """The names of the sources, in alphabetical order."""
        return sorted(self._sources)

    @property
    def dimension(self) -> int:
        """Numbers per embedding."""
        return self._artifacts.index.dimension

    @property
    def index_type(self) -> IndexType:
        """What searches the release's vectors."""
        return self._artifacts.index.index_type

    @property
    def provider(self) -> str:
        """The execution provider that runs the encoder."""
        return self._artifacts.encoder.provider

    @property
    def settings(self) -> FirstStageSettings:
        """The release's settings of the first stage."""
        return self._artifacts.settings

    @property
    def snapshot(self) -> Snapshot:
        """The catalogue as it is now."""
        return self._catalogue.snapshot

    def check(self, request: Request) -> None:
        """Raise InvalidRequest, naming the field, if a request is invalid."""
        check_request(request, self.dimension, self.sources)
        if request.filter is not None:
            self.item_filter.check(request.filter)

    def retrieve(self, requests: Sequence[Request]) -> list[Candidates]:
        """Check requests, embed their queries and search; returns one result per request.

        Raises:
            InvalidRequest: A request is invalid; nothing was searched.
        """
        for request in requests:
            self.check(request)
        snapshot = self.snapshot
        requests = [self.corrected(request, snapshot) for request in requests]
        vectors = iter(self.query_encoder.encode([request.text for request in requests if request.has_text]))
        ready = [request.embedded(next(vectors)) if request.has_text else request for request in requests]
        return self.search(ready, snapshot)

    def needs_repair(self, request: Request, snapshot: Snapshot) -> bool:
        """Return whether a query has words that the catalogue does not know, and they may be replaced."""
        if self._repair is None or request.keep_query or not request.text:
            return False
        return not self._repair.is_known(request.text, snapshot.delta)

    def corrected(self, request: Request, snapshot: Snapshot) -> Request:
        """Return a request with its query's spelling repaired; work for a thread, if `needs_repair` says so."""
        if self._repair is None or not self.needs_repair(request, snapshot):
            return request
        return request.corrected(self._repair.repair(request.text, snapshot.delta))

    def search(self, requests: Sequence[Request], snapshot: Snapshot) -> list[Candidates]:
        """Answer requests that passed `check` and whose queries are embedded, all on one snapshot."""
        return self._generator.generate(requests, snapshot)

    def vectors_of(self, candidates: Candidates) -> Float32Array:
        """Return the candidates' unit vectors; shape [candidates, dimension]."""
        return self._item_search.vectors_of(candidates.snapshot, candidates.rows)

    def get_items(self, item_ids: Sequence[str]) -> list[Item | None]:
        """Return items, None for unknown ids; raises InvalidRequest as `CatalogueWriter.delete` does."""
        check_ids("item_ids", item_ids)
        snapshot = self.snapshot
        rows = snapshot.rows_of(item_ids)
        found = iter(snapshot.items_at(rows[rows >= 0]))
        return [None if row < 0 else next(found) for row in rows.tolist()]

    def set_ef_search(self, ef_search: int) -> None:
        """Change the length of HNSW's candidate list for later searches."""
        self._item_search.set_ef_search(ef_search, self.snapshot)

    def wait_for_maintenance(self) -> None:
        """Wait until all maintenance that the changes so far made due is done."""
        self._maintenance.run_due_tasks()

    def audit_all(self) -> None:
        """Audit all vectors that are pending, and wait for it and for the rebuild that this may make due."""
        self._maintenance.audit_all()

    @property
    def unreachable(self) -> int:
        """How many vectors the audit found unreachable; searches find them all the same."""
        return self._index_maintenance.unreachable

    @property
    def audit_pending(self) -> int:
        """How many vectors are still to be audited."""
        return self._index_maintenance.audit_pending

    def close(self, *, discard: bool = False) -> None:
        """Finish what was begun, and release threads, the subscription to the feed and the index.

        Args:
            discard: Whether to delete what the index stores outside of this process, because this release will not be
                used soon. Activating it again makes it again.
        """
        self._indexing.shutdown(cancel_futures=True)
        self.writer.finish()
        self.pool.shutdown()
        self.writer.close()
        self._maintenance.close()
        if self._recall_monitor is not None:
            self._recall_monitor.close()
        self.query_encoder.close()
        self._artifacts.index.close(discard=discard)

    def _new_recall_monitor(self) -> RecallMonitor | None:
        """Begin to sample the recall of searches, if that is asked for."""
        share, report = self._options.recall_share, self._options.on_recall
        if not share or report is None:
            return None
        monitor = RecallMonitor(share, self._item_search.search_exactly, report)
        self._item_search.observer = lambda *search: monitor.offer(RecallSample(*search))
        return monitor
