"""The service level objectives of the gateway, as recording rules and multi-window burn-rate alerts.

The windows and factors are those of the SRE workbook's chapter "Alerting on SLOs": 2 % of the error budget of 30 days
in an hour or 5 % in six is critical, 10 % in three days a warning. The short window ends an alert soon after its cause.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

METHOD: Final = "/shortlist.gateway.v1.RecommendationService/Recommend"
WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
# Severity, how long it must hold, and (factor, long window, short window) of which one must hold.
SEVERITIES: Final = (
    ("critical", "2m", ((14.4, "1h", "5m"), (6.0, "6h", "30m"))),
    ("warning", "15m", ((3.0, "1d", "2h"), (1.0, "3d", "6h"))),
)
_FAULTS: Final = "UNAVAILABLE|INTERNAL|UNKNOWN|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|DATA_LOSS|UNIMPLEMENTED"


@dataclass(frozen=True)
class Objective:
    """What share of calls or answers must be good.

    Attributes:
        name: Its name in rules.
        alert: The name of its alert.
        target: The share of good ones, over 30 days.
        bad: The bad ones, as PromQL with {window}.
        all: All of them, as PromQL with {window}.
        summary: What users meet while its budget burns.
    """

    name: str
    alert: str
    target: float
    bad: str
    all: str
    summary: str

    def ratio(self, window: str) -> str:
        """Return the recorded share of bad ones in a window."""
        return f"shortlist:{self.name}_errors:ratio_rate{window}"


_CALLS: Final = f'sum by (namespace) (rate(shortlist_gateway_requests_total{{method="{METHOD}"}}[WINDOW]))'
_COUNT: Final = f'sum by (namespace) (rate(shortlist_gateway_request_seconds_count{{method="{METHOD}"}}[WINDOW]))'
_FAST: Final = (
    f'sum by (namespace) (rate(shortlist_gateway_request_seconds_bucket{{method="{METHOD}",le="0.25"}}[WINDOW]))'
)
_ANSWERS: Final = "sum by (namespace) (rate(shortlist_gateway_recommendations_total[WINDOW]))"

OBJECTIVES: Final = (
    Objective(
        "availability",
        "ShortlistAvailabilityBudgetBurning",
        0.999,
        # Without an error there is no series of its code: then the share is 0, and not missing.
        f'sum by (namespace) (rate(shortlist_gateway_requests_total{{method="{METHOD}",code=~"{_FAULTS}"}}[WINDOW]))'
        f" or 0 * {_CALLS}",
        _CALLS,
        "Recommend fails too often: the error budget of 99.9 % would be used up early",
    ),
    Objective(
        "latency",
        "ShortlistLatencyBudgetBurning",
        0.99,
        f"{_COUNT} - {_FAST}",
        _COUNT,
        "Recommend takes longer than 250 ms too often: the budget of 99 % would be used up early",
    ),
    Objective(
        "degraded",
        "ShortlistDegradedBudgetBurning",
        0.99,
        "sum by (namespace) (rate(shortlist_gateway_degraded_recommendations_total[WINDOW]))",
        _ANSWERS,
        "Too many answers are degraded: the budget of 99 % whole answers would be used up early",
    ),
)


def slo_groups() -> dict[str, Any]:
    """Return the rules as Prometheus reads them."""
    recorded = [_recorded(objective, window) for objective in OBJECTIVES for window in WINDOWS]
    alerts = [_alert(objective, *severity) for objective in OBJECTIVES for severity in SEVERITIES]
    # One group: its rules are evaluated in order, so that alerts read the values of the same moment.
    return {"groups": [{"name": "shortlist-slo", "rules": [*recorded, *alerts]}]}


def _recorded(objective: Objective, window: str) -> dict[str, Any]:
    bad, every = (expr.replace("WINDOW", window) for expr in (objective.bad, objective.all))
    return {"record": objective.ratio(window), "expr": f"({bad})\n/\n({every} > 0)"}


def _alert(
    objective: Objective, severity: str, holds: str, burn_rates: tuple[tuple[float, str, str], ...]
) -> dict[str, Any]:
    budget = 1 - objective.target
    conditions = [
        f"({objective.ratio(long)} > {factor * budget:.6g} and {objective.ratio(short)} > {factor * budget:.6g})"
        for factor, long, short in burn_rates
    ]
    return {
        "alert": objective.alert,
        "expr": "\nor\n".join(conditions),
        "for": holds,
        "labels": {"severity": severity},
        "annotations": {
            "summary": objective.summary,
            "description": "{{ $value | humanizePercentage }} of the last hours' calls or answers were bad.",
            "runbook": f"docs/runbooks.md#{objective.alert.lower()}",
        },
    }
