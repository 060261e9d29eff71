"""Accessibility: axe, the keyboard, narrow screens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

Open = Callable[..., Any]
AXE: Final = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
READY: Final = {"/": ".card", "/many": "#run", "/release": "#facts", "/servers": ".server.serving table"}
RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def _violations(page: Any) -> list[str]:
    page.evaluate(AXE.read_text())
    found = page.evaluate("rules => axe.run({ runOnly: rules })", RULES)
    return [f"{fault['id']}: {node['html'][:200]}" for fault in found["violations"] for node in fault["nodes"]]


@pytest.mark.parametrize("path", READY)
@pytest.mark.parametrize(("query", "width"), [("", 1280), ("&theme=dark", 1280), ("&lang=zh", 1280), ("", 360)])
def test_axe_finds_nothing(open_page: Open, path: str, query: str, width: int):
    """Each page, in light and dark, in both languages and on a narrow screen, has no violation."""
    page = open_page(f"{path}?q=milk{query}", width)
    page.wait_for_selector(READY[path])
    page.eval_on_selector_all("details", "all => all.forEach(one => (one.open = true))")
    assert not _violations(page)


@pytest.mark.parametrize("path", READY)
def test_a_narrow_screen_needs_no_sideways_scrolling(open_page: Open, path: str):
    """At 360 pixels, and so at four times the size of letters, nothing is cut off."""
    page = open_page(f"{path}?q=milk", 360)
    page.wait_for_selector(READY[path])
    assert page.evaluate("() => document.scrollingElement.scrollWidth") <= 360


def test_dialogs_failures_and_votes_have_no_violation(open_page: Open, admin_page: Any, settled: Open):
    """What appears later is accessible too."""
    assert not _violations(admin_page)
    admin_page.click('[data-side="right"] [data-action="explain"] >> nth=0')
    admin_page.wait_for_selector("dialog table")
    assert not _violations(admin_page)
    assert not _violations(settled(open_page("/?min_price=9&max_price=1&theme=dark")))


def test_the_keyboard_reaches_everything(open_page: Open, settled: Open):
    """The first stop skips the head; every control is a stop, and each shows that it has the focus."""
    page = settled(open_page("/?q=milk&n=2&left=none"))
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "main"
    stops, visible = set(), True
    for _ in range(80):
        page.keyboard.press("Tab")
        stop = page.evaluate("() => [document.activeElement.id, document.activeElement.dataset.action ?? '']")
        outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
        stops |= set(stop)
        visible &= outline != "none" or stop[0] == ""
    assert {"search", "find-user", "find-item", "user", "n", "threshold", "left", "pin", "reset", "explain"} <= stops
    assert visible


def test_what_happened_is_told_to_screen_readers(open_page: Open, settled: Open):
    """The number of items is announced."""
    page = settled(open_page("/?q=milk&n=3"))
    page.wait_for_function("() => /3 items of release/.test(document.getElementById('status').textContent)")
