"""The dashboards of calls: overview, stages and objectives."""

from __future__ import annotations

from typing import Final

from engine_dashboards import ENGINES, RELEASES
from grafana import Dashboard, Panel, Query
from queries import NAMESPACE, SERVERS, gauge, of_servers, quantile, rate
from slo import METHOD, OBJECTIVES, WINDOWS

_RECOMMEND: Final = f'method="{METHOD}"'
_LATENCY: Final = "shortlist_gateway_request_seconds"

OVERVIEW: Final = Dashboard(
    "shortlist-overview",
    "Shortlist overview",
    [
        [
            Panel(
                "Calls by status",
                "Finished calls of Recommend a second. Anything but OK is worth a look.",
                [Query(rate("shortlist_gateway_requests_total", "code", _RECOMMEND), "{{code}}")],
                "reqps",
            ),
            Panel(
                "Latency of Recommend",
                "As the gateway measures it. Dots are traces.",
                [
                    Query(quantile(share, _LATENCY, labels=_RECOMMEND), f"p{share * 100:g}")
                    for share in (0.5, 0.95, 0.99)
                ],
                "s",
                has_exemplars=True,
            ),
            Panel(
                "Degradations",
                "What failed and was replaced, by kind. An answer can have several.",
                [Query(rate("shortlist_gateway_degradations_total", "kind"), "{{kind}}")],
                "reqps",
            ),
        ],
        [
            Panel(
                "Answers by stages",
                "Which stages callers ask for.",
                [Query(rate("shortlist_gateway_recommendations_total", "stages"), "{{stages}}")],
                "reqps",
            ),
            Panel(
                "Calls in progress and their limit",
                "The limit falls while answers are late; calls above it are refused with RESOURCE_EXHAUSTED.",
                [
                    Query(gauge("shortlist_gateway_requests_in_flight"), "in progress {{instance}}"),
                    Query(gauge("shortlist_gateway_call_limit"), "limit {{instance}}"),
                ],
            ),
            Panel(
                "Circuit breakers",
                "1 for the state of each replica's breaker. Open: the replica gets no calls.",
                [Query(f"{gauge('shortlist_gateway_breaker_state')} == 1", "{{backend}} {{address}} {{state}}")],
            ),
        ],
        [
            Panel(
                "Long-tail share",
                "Share of long-tail items in recent answers.",
                [Query(gauge("shortlist_gateway_long_tail_share"), "{{instance}}")],
                "percentunit",
            ),
            Panel(
                "CPU",
                "Cores that each server uses.",
                [Query(f"rate(process_cpu_seconds_total{{{NAMESPACE}}}[$__rate_interval])", "{{instance}}")],
            ),
            Panel(
                "Memory",
                "Resident memory of each server. An activation needs up to three releases at once.",
                [Query(gauge("process_resident_memory_bytes"), "{{instance}}")],
                "bytes",
            ),
            Panel(
                "Background loops that fail",
                "1 while a loop's last step failed.",
                of_servers("loop_failing", "{{loop}}"),
            ),
        ],
    ],
)


def _stages(server: str, share: float = 0.95) -> list[Query]:
    return [Query(quantile(share, f"shortlist_{server}_stage_seconds", "stage"), "{{stage}}")]


STAGES: Final = Dashboard(
    "shortlist-stages",
    "Shortlist stages",
    [
        [
            Panel(
                f"Stages of {server}, p95",
                "How long each stage takes. " + reading,
                _stages(server),
                "s",
                has_exemplars=server == "gateway",
            )
            for server, reading in (
                ("gateway", "Retrieval and ranking include the network."),
                ("retrieval", "`encode` is the wait for the query's embedding."),
                ("ranking", "`infer` is one batch, the others one call."),
            )
        ],
        [
            Panel(
                f"Calls of {server}, p99",
                "By method.",
                [Query(quantile(0.99, f"shortlist_{server}_request_seconds", "method"), "{{method}}")],
                "s",
            )
            for server in SERVERS
        ],
        [
            Panel(
                "Lateness of answers",
                "How much later than planned recent answers were; the gateway keeps this time in reserve.",
                [Query(gauge("shortlist_gateway_answer_lateness_seconds"), "{{instance}}")],
                "s",
            ),
            Panel(
                "Wait in the queue",
                "How long a call's pairs wait for their first batch, on average.",
                [Query(f"shortlist:ranking_queued_seconds{{{NAMESPACE}}}", "{{namespace}}")],
                "s",
            ),
            Panel(
                "Candidates by tier and outcome",
                "`left_out` were planned and not scored for lack of time.",
                [Query(rate("shortlist_ranking_tier_items_total", "tier, outcome"), "{{tier}} {{outcome}}")],
            ),
        ],
    ],
)

_OBJECTIVE_UNIT: Final = "percentunit"
SLO: Final = Dashboard(
    "shortlist-slo",
    "Shortlist objectives",
    [
        [
            Panel(
                f"Good {objective.name}: objective {objective.target:.1%}",
                "Share of good ones in the last three days.",
                [Query(f"1 - {objective.ratio('3d')}{{{NAMESPACE}}}", "{{namespace}}")],
                _OBJECTIVE_UNIT,
                kind="stat",
            )
            for objective in OBJECTIVES
        ],
        [
            Panel(
                f"Budget of {objective.name} left",
                "Of the last three days: 1 at the start, below 0 if more was bad than the objective allows.",
                [Query(f"1 - {objective.ratio('3d')}{{{NAMESPACE}}} / {1 - objective.target:.6g}", "{{namespace}}")],
                _OBJECTIVE_UNIT,
            )
            for objective in OBJECTIVES
        ],
        [
            Panel(
                f"Burn rate of {objective.name}",
                "1 uses the budget of 30 days in 30 days. Critical above 14.4 in 1h and 5m, or above 6 in 6h and 30m.",
                [
                    Query(f"{objective.ratio(window)}{{{NAMESPACE}}} / {1 - objective.target:.6g}", window)
                    for window in WINDOWS
                ],
            )
            for objective in OBJECTIVES
        ],
    ],
)

DASHBOARDS: Final = (OVERVIEW, STAGES, ENGINES, RELEASES, SLO)
