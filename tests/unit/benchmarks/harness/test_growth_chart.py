"""The chart of figures that grow."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

from benchmarks.harness.growth_chart import Panel, growth_chart

PANELS = [
    Panel("pairs/s", "candidates", {10: 100.0, 40: 400.0, 2000: 300.0}, 400.0, math.log2),
    Panel("pairs/s", "callers", {1: 50.0, 256: 400.0}, 400.0, math.log2),
]


def test_each_panel_has_a_curve_through_its_points():
    """The SVG is complete, the x axis is logarithmic, and larger values are higher."""
    root = ET.fromstring(growth_chart(PANELS, "Growth", 2))  # noqa: S314 - written by the line's own call
    space = {"svg": "http://www.w3.org/2000/svg"}
    panels = root.findall("svg:g", space)
    dots = [[(float(dot.get("cx")), float(dot.get("cy"))) for dot in g.findall("svg:circle", space)] for g in panels]
    assert [len(found) for found in dots] == [3, 2]
    (ten, slow), (forty, fast), (_, middle) = dots[0]
    assert slow > middle > fast
    whole = dots[0][-1][0] - ten
    assert abs((forty - ten) / whole - 2 / 7.64) < 0.01
    assert all(g.find("svg:path", space) is not None for g in panels)
    assert "40: 400" in "".join(root.itertext())
