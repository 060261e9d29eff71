"""The dashboards of engines and releases."""

from __future__ import annotations

from typing import Final

from grafana import Dashboard, Panel, Query
from queries import NAMESPACE, SERVERS, gauge, mean, of_servers, rate

ENGINES: Final = Dashboard(
    "shortlist-engines",
    "Shortlist engines",
    [
        [
            Panel(
                "Searches by path",
                "`exact` searches cost more; `cached` are neighbours of history items.",
                [Query(rate("shortlist_retrieval_searches_total", "path"), "{{path}}")],
                "ops",
            ),
            Panel(
                "Candidates by source",
                "Candidates returned, by each source that found them.",
                [Query(rate("shortlist_retrieval_candidates_total", "source"), "{{source}}")],
            ),
            Panel(
                "Recall",
                "Share of the true nearest items that sampled searches found. No value before the first sample.",
                [Query(gauge("shortlist_retrieval_recall"), "{{instance}}")],
                "percentunit",
            ),
            Panel(
                "ef_search",
                "Length of HNSW's candidate list. It falls while answers are later than --latency-target-ms.",
                [Query(gauge("shortlist_retrieval_ef_search"), "{{instance}}")],
            ),
        ],
        [
            Panel(
                "Items",
                "Items of the live catalogue.",
                [Query(gauge("shortlist_retrieval_items"), "{{instance}}")],
            ),
            Panel(
                "Changes of the catalogue",
                "Items changed by calls, by kind.",
                [Query(rate("shortlist_retrieval_changes_total", "kind"), "{{kind}}")],
                "ops",
            ),
            Panel(
                "Unreachable vectors",
                "Vectors that no link of the HNSW graph leads to. They are compared one by one.",
                [
                    Query(gauge("shortlist_retrieval_unreachable_vectors"), "unreachable {{instance}}"),
                    Query(gauge("shortlist_retrieval_audit_pending_vectors"), "not yet checked {{instance}}"),
                ],
            ),
            Panel(
                "Index",
                "What searches the release's vectors.",
                [Query(f"count by (type) ({gauge('shortlist_retrieval_index_info')})", "{{type}}")],
                kind="stat",
            ),
        ],
        [
            Panel(
                "Pairs by outcome",
                "`skipped` were to be read and left out for lack of time.",
                [Query(rate("shortlist_ranking_pairs_total", "outcome"), "{{outcome}}")],
                "ops",
            ),
            Panel(
                "Share of pairs left out",
                "KEDA adds replicas above `ranking.keda.maxUnreadShare`.",
                [Query(f"shortlist:ranking_unread_share{{{NAMESPACE}}}", "{{namespace}}")],
                "percentunit",
            ),
            Panel(
                "Pairs that wait",
                "Pairs in the queue of the cross-encoder.",
                [Query(gauge("shortlist_ranking_queued_pairs"), "{{instance}}")],
            ),
            Panel(
                "Refused calls",
                "Calls that ranking refuses, by reason.",
                [Query(rate("shortlist_ranking_refused_total", "reason"), "{{reason}}")],
                "reqps",
            ),
        ],
        [
            Panel(
                "Pairs in a batch",
                "On average. Larger batches read more pairs a second.",
                [Query(mean("shortlist_ranking_batch_pairs"), "{{namespace}}")],
            ),
            Panel(
                "Padding",
                "Share of a batch's tokens that are padding.",
                [
                    Query(
                        f"{rate('shortlist_ranking_padding_tokens_total', 'namespace')} / "
                        f"{rate('shortlist_ranking_batch_tokens_sum', 'namespace')}",
                        "{{namespace}}",
                    )
                ],
                "percentunit",
            ),
            Panel(
                "Missing providers",
                "1 where a model runs on the CPU although another provider was requested.",
                of_servers("provider_missing")[1:],
            ),
        ],
    ],
)

RELEASES: Final = Dashboard(
    "shortlist-releases",
    "Shortlist releases",
    [
        [
            Panel(
                "Releases served",
                "Replicas of each service by release. Two releases of one service are a roll-out, or a fault.",
                [
                    Query(
                        f"count by (release_id) ({gauge(f'shortlist_{server}_release_info')})",
                        f"{server} {{{{release_id}}}}",
                    )
                    for server in SERVERS
                ],
                kind="stat",
            ),
            Panel(
                "Age of the release",
                "Since it was built.",
                [
                    Query(
                        f"time() - {gauge(f'shortlist_{server}_release_created_timestamp_seconds')}",
                        f"{server} {{{{instance}}}}",
                    )
                    for server in SERVERS[1:]
                ],
                "s",
            ),
        ],
        [
            Panel(
                "Replicas",
                "Which replica serves which release.",
                [Query(gauge(f"shortlist_{server}_release_info"), server) for server in SERVERS],
                kind="table",
            ),
            Panel(
                "Models",
                "Execution provider and precision of each model of ranking.",
                [Query(gauge("shortlist_ranking_models_info"), "{{instance}}")],
                kind="table",
            ),
        ],
        [
            Panel(
                "Lag of the change stream",
                "Seconds since the end of the Redis stream was reached; about one at most while it is followed.",
                [
                    Query(gauge(f"shortlist_{server}_change_stream_lag_seconds"), f"{server} {{{{instance}}}}")
                    for server in SERVERS[1:]
                ],
                "s",
            ),
            Panel(
                "Connection to the change stream",
                "1 while the stream can be read.",
                [
                    Query(gauge("shortlist_retrieval_change_stream_connected"), "retrieval {{instance}}"),
                    Query(gauge("shortlist_ranking_item_texts_connected"), "ranking {{instance}}"),
                ],
            ),
        ],
    ],
)
