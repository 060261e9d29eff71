"""The picture of how cost grows."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from benchmarks.growth_plot import growth_plot

AXES = {
    "candidates": {"10": {"pairs/s": 100.0}, "40": {"pairs/s": 400.0}, "2000": {"pairs/s": 300.0}},
    "callers": {"1": {"pairs/s": 50.0}, "256": {"pairs/s": 400.0}},
}


def test_each_axis_has_a_curve_through_its_points():
    """The file stands alone, values double from left to right, and more pairs a second are higher up."""
    root = ET.fromstring(growth_plot(AXES))  # noqa: S314 - written by the line's own call
    space = {"svg": "http://www.w3.org/2000/svg"}
    panels = root.findall("svg:g", space)
    dots = [[(float(dot.get("cx")), float(dot.get("cy"))) for dot in g.findall("svg:circle", space)] for g in panels]
    assert [len(found) for found in dots] == [3, 2]
    (ten, slow), (forty, fast), (_, middle) = dots[0]
    assert slow > middle > fast
    whole = dots[0][-1][0] - ten
    assert abs((forty - ten) / whole - 2 / 7.64) < 0.01
    assert all(g.find("svg:path", space) is not None for g in panels)
    assert "40: 400 pairs/s" in "".join(root.itertext())
