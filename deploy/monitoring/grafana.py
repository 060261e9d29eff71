"""Dashboards as Grafana reads them: rows of panels with Prometheus queries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

_WIDTH: Final = 24
_HEIGHT: Final = 8
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
# The version of the dashboard's JSON; Grafana 10 and later read it.
_SCHEMA: Final = 39


@dataclass(frozen=True)
class Query:
    """A line of a panel.

    Attributes:
        expr: PromQL; `$namespace` and `$__rate_interval` are Grafana's variables.
        legend: The name of each line, with labels in double braces.
    """

    expr: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """A panel.

    Attributes:
        title: What it shows.
        description: How to read it.
        queries: Its lines.
        unit: The unit of its values, as Grafana calls it.
        kind: `timeseries`, `stat` or `table`.
        has_exemplars: Whether traces are shown along the lines.
    """

    title: str
    description: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: str = "timeseries"
    has_exemplars: bool = False


@dataclass(frozen=True)
class Dashboard:
    """A dashboard.

    Attributes:
        uid: Its id in Grafana, and its file's name.
        title: Its title.
        rows: Panels side by side; a row has at most four.
    """

    uid: str
    title: str
    rows: Sequence[Sequence[Panel]]

    @property
    def panels(self) -> Sequence[Panel]:
        """All panels."""
        return [panel for row in self.rows for panel in row]

    def to_json(self) -> str:
        """Return the dashboard as a file of Grafana."""
        content = {
            "uid": self.uid,
            "title": self.title,
            "tags": ["shortlist"],
            "schemaVersion": _SCHEMA,
            "editable": True,
            "refresh": "30s",
            "time": {"from": "now-3h", "to": "now"},
            "templating": {"list": _VARIABLES},
            "links": [{"type": "dashboards", "tags": ["shortlist"], "title": "Shortlist", "asDropdown": True}],
            "panels": list(self._panels()),
        }
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    def _panels(self) -> list[dict[str, Any]]:
        placed = []
        for row, panels in enumerate(self.rows):
            width = _WIDTH // len(panels)
            for column, panel in enumerate(panels):
                place = {"x": column * width, "y": row * _HEIGHT, "w": width, "h": _HEIGHT}
                placed.append(_panel(panel, len(placed) + 1, place))
        return placed


_VARIABLES: Final = [
    {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
    {
        "name": "namespace",
        "type": "query",
        "datasource": _SOURCE,
        "query": "label_values(shortlist_gateway_requests_in_flight, namespace)",
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        # Outside of Kubernetes there is no such label, which this matches too.
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    },
]


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": _options(panel.kind),
        "targets": [_target(query, chr(ord("A") + at), panel) for at, query in enumerate(panel.queries)],
    }


def _options(kind: str) -> dict[str, Any]:
    if kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    if kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "value_and_name"}
    return {}


def _target(query: Query, ref: str, panel: Panel) -> dict[str, Any]:
    target = {
        "refId": ref,
        "datasource": _SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "exemplar": panel.has_exemplars,
    }
    return target | ({"format": "table", "instant": True} if panel.kind == "table" else {})
