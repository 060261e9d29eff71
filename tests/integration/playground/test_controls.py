"""Every control of the first page, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

Open = Callable[..., Any]
RIGHT = '[data-side="right"]'


def _open_groups(page: Any) -> Any:
    page.eval_on_selector_all("details.group", "groups => groups.forEach(group => (group.open = true))")
    return page


def _cards(page: Any, side: str = "right") -> list[str]:
    ids = page.eval_on_selector_all(f'[data-side="{side}"] .card', "cards => cards.map(card => card.dataset.item)")
    return [str(item) for item in ids]


def test_a_search_is_answered_and_stays_in_the_address(open_page: Open, settled: Open):
    """Both stages are shown with probability, sources and reasons, and the address opens the same view."""
    page = settled(open_page("/"))
    page.fill("#search", "red milk")
    settled(page, "q=red+milk")
    text = page.inner_text(f"{RIGHT} .card >> nth=0")
    assert "probability" in text
    assert re.search(r"first stage: place \d", text)
    assert page.locator(f"{RIGHT} .badge").count() > 0
    assert page.locator(f"{RIGHT} .reasons li").count() > 0
    again = settled(open_page(page.url.removeprefix(page.url.split("/?")[0])))
    assert _cards(again) == _cards(page)
    assert again.input_value("#search") == "red milk"


def test_searches_are_suggested(open_page: Open, settled: Open):
    """What is typed is completed with words of the catalogue."""
    page = settled(open_page("/"))
    page.fill("#search", "mil")
    page.wait_for_selector("#suggestions option", state="attached")
    texts = page.eval_on_selector_all("#suggestions option", "options => options.map(option => option.value)")
    assert all("milk" in text for text in texts)


def test_the_repair_of_a_query_can_be_refused(open_page: Open, settled: Open):
    """The button next to "Showing results for" asks again with what was typed, and the box says that it does."""
    page = settled(open_page("/?q=lagre+mlik"))
    assert "Showing results for “large milk”" in page.inner_text(f"{RIGHT} .corrected")
    assert not page.is_checked("#keep")
    page.click(f'{RIGHT} [data-action="keep-query"]')
    settled(page, "keep=1")
    assert page.locator(".corrected").count() == 0
    assert page.is_checked("#keep")
    page.uncheck("#keep")
    page.wait_for_selector(f"{RIGHT} .corrected")


def test_what_moved_is_said_on_both_sides(open_page: Open, settled: Open):
    """Each item says its place on the other side; the lists' overlap is above them."""
    page = settled(open_page("/?q=milk"))
    for side in ("left", "right"):
        assert page.locator(f'[data-side="{side}"] .move').count() == len(_cards(page, side)) > 0
    assert "rank-biased overlap" in page.inner_text(".compared")


@pytest.mark.parametrize(
    ("control", "value", "query"),
    [
        ("brand", "acme", "brand=acme"),
        ("category", "dairy|fruit", "category=dairy|fruit"),
        ("min_price", "6", "min_price=6"),
        ("max_price", "7", "max_price=7"),
        ("n", "3", "n=3"),
        ("threshold", "0.01", "threshold=0.01"),
        ("per_brand", "1", "per_brand=1"),
        ("per_category", "2", "per_category=2"),
        ("tail", "0.5", "tail=0.5"),
        ("new", "0", "new=0"),
        ("diversity", "0.5", "diversity=0.5"),
        ("user", "somebody", "user=somebody"),
    ],
)
def test_every_field_takes_effect_at_once(open_page: Open, settled: Open, control: str, value: str, query: str):
    """The change is in the address, and what is shown obeys it."""
    page = _open_groups(settled(open_page("/?q=fresh")))
    page.fill(f"#{control}", value)
    settled(page, query)
    assert not page.locator(".failure").count(), page.inner_text("#results")
    details = page.eval_on_selector_all(f"{RIGHT} .card p.hint", "lines => lines.map(line => line.textContent)")
    if control in ("brand", "category"):
        assert all(re.search(value, line) for line in details)
    if control in ("n", "per_brand"):
        brands = [line.split(" · ")[0] for line in details]
        assert len(details) <= 3 if control == "n" else len(brands) == len(set(brands))
    if control.endswith("price"):
        prices = [float(line.rpartition("price ")[2]) for line in details]
        assert all(price >= 6 if control == "min_price" else price <= 7 for price in prices)


@pytest.mark.parametrize("slider", ["threshold", "tail", "new", "diversity"])
def test_every_slider_moves_its_field(open_page: Open, settled: Open, slider: str):
    """A slider can be moved with the keyboard, and its field follows."""
    page = _open_groups(settled(open_page("/?q=fresh")))
    page.focus(f"#{slider}-slider")
    page.keyboard.press("ArrowRight")
    settled(page, f"{slider}=0.0")
    assert float(page.input_value(f"#{slider}")) > 0


@pytest.mark.parametrize("flag", ["no_history", "no_purchased", "duplicates"])
def test_every_flag_is_set_and_taken_back(open_page: Open, settled: Open, flag: str):
    """A flag is in the address while it is set."""
    page = _open_groups(settled(open_page("/?q=fresh&h=dairy-milk-fresh-0")))
    page.check(f"#{flag}")
    settled(page, f"{flag}=1")
    assert flag != "no_history" or "dairy-milk-fresh-0" not in _cards(page)
    page.uncheck(f"#{flag}")
    page.wait_for_function("flag => !location.search.includes(flag)", arg=f"{flag}=1")


def test_a_user_of_the_shop_is_chosen(open_page: Open, settled: Open):
    """The chosen user's history is shown with titles, and the address names the user."""
    page = settled(open_page("/"))
    page.fill("#find-user", "u1")
    page.wait_for_function("() => [...document.querySelectorAll('#users button')].every(b => /u1/.test(b.textContent))")
    name = page.inner_text("#users button >> nth=0").split(" ")[0]
    page.click("#users button >> nth=0")
    settled(page, f"who={name}")
    assert page.locator("#history li").count() > 5
    assert not re.search(r"-\d", page.inner_text("#history li >> nth=0"))
    reloaded = settled(open_page(f"/?who={name}"))
    assert reloaded.locator("#history li").count() == page.locator("#history li").count()


def test_a_user_is_made_of_items(open_page: Open, settled: Open):
    """Items are found by a search, added, removed one by one and all together."""
    page = settled(open_page("/"))
    page.fill("#find-item", "red milk")
    page.click("#found-items button >> nth=0")
    page.click("#found-items button >> nth=1")
    page.wait_for_function("() => new URLSearchParams(location.search).getAll('h').length === 2")
    page.click("#history li button >> nth=0")
    page.wait_for_function("() => new URLSearchParams(location.search).getAll('h').length === 1")
    page.click("#clear-history")
    page.wait_for_function("() => !location.search.includes('h=')")
    settled(page).click(f'{RIGHT} [data-action="history"] >> nth=0')
    settled(page, "h=")


def test_an_item_is_blocked_and_allowed_again(open_page: Open, settled: Open):
    """A blocked item leaves the list until it is allowed again."""
    page = _open_groups(settled(open_page("/?q=milk&left=none")))
    item = _cards(page)[0]
    page.click(f'{RIGHT} [data-action="block"] >> nth=0')
    settled(page, f"block={item}")
    assert item not in _cards(page)
    page.click("#blocked button")
    page.wait_for_function("() => !location.search.includes('block=')")
    settled(page)
    page.wait_for_selector(f'{RIGHT} [data-item="{item}"]')


@pytest.mark.parametrize(("kind", "title"), [("popular", "Popular items"), ("no_policy", "Without policy")])
def test_every_comparison_has_its_list(open_page: Open, settled: Open, kind: str, title: str):
    """The left list is what was chosen; without one there is a single list."""
    page = settled(open_page("/?q=milk"))
    page.select_option("#left", kind)
    settled(page, f"left={kind}")
    assert page.inner_text('[data-side="left"] h2') == title
    page.select_option("#left", "none")
    page.wait_for_selector('[data-side="left"]', state="detached")


def test_settings_are_pinned_on_the_left(open_page: Open, settled: Open):
    """A pinned policy stays on the left while the right one changes, also in the address."""
    page = _open_groups(settled(open_page("/?q=fresh&n=4&per_brand=1")))
    pinned = _cards(page)
    page.click("#pin")
    settled(page, "left=pinned")
    page.fill("#per_brand", "")
    page.wait_for_function("() => !location.search.includes('per_brand=1')")
    settled(page)
    assert _cards(page, "left") == pinned
    again = settled(open_page(page.url[page.url.index("/?") :]))
    assert _cards(again, "left") == pinned


def test_everything_starts_again(open_page: Open, settled: Open):
    """Nothing but language and colours is left in the address."""
    page = settled(open_page("/?q=milk&n=4&lang=en&theme=dark&h=dairy-milk-red-0"))
    page.click("#reset")
    page.wait_for_function("() => location.search === '?lang=en&theme=dark'")
    assert page.input_value("#search") == ""


def test_language_and_colours_change_at_once(open_page: Open, settled: Open):
    """The page is in the other language and in the other colours, and says so to the browser."""
    page = settled(open_page("/?q=milk"))
    page.select_option("#lang", "zh")
    page.wait_for_selector("text=两个阶段")
    assert page.get_attribute("html", "lang") == "zh-Hans"
    ground = "() => getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    page.select_option("#theme", "dark")
    page.wait_for_function("before => getComputedStyle(document.body).backgroundColor !== before", arg=before)


def test_an_item_is_explained(open_page: Open, settled: Open):
    """A dialog shows what decided the probability, and Escape closes it."""
    page = settled(open_page("/?q=milk"))
    page.click(f'{RIGHT} [data-action="explain"] >> nth=0')
    page.wait_for_selector("dialog table")
    assert "What decided the probability" in page.inner_text("dialog")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")


def test_the_request_is_copied_as_code(open_page: Open, settled: Open):
    """Each language shows the request; copying puts it on the clipboard."""
    page = settled(open_page("/?q=milk", permissions=["clipboard-read", "clipboard-write"]))
    page.click(".snippets summary")
    for language, part in {"python": "client.recommend(", "node": "gateway.Recommend(", "grpcurl": "grpcurl "}.items():
        page.click(f'[data-language="{language}"]')
        assert part in page.inner_text(".snippets pre")
    page.click(".snippets .copy")
    page.wait_for_selector("text=Copied.")
    assert page.evaluate("() => navigator.clipboard.readText()").startswith("grpcurl ")


def test_the_time_of_each_stage_is_shown(open_page: Open, settled: Open):
    """The waterfall has the stages, and what each tier did."""
    page = settled(open_page("/?q=milk"))
    text = page.inner_text(f"{RIGHT} .waterfall")
    for name in ("profile", "retrieval", "ranking", "policy", "gateway in all", "seen from here"):
        assert name in text
    assert "items read" in text or "Features alone ranked" in text
