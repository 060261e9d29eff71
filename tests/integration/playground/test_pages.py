"""The other pages, votes, the admin token, and failures, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testing.server_process import free_port

Open = Callable[..., Any]
RIGHT = '[data-side="right"]'


def test_without_the_token_the_page_is_read_only(open_page: Open, settled: Open):
    """Nothing that changes something is offered, and a wrong token is said to be wrong."""
    page = settled(open_page("/?q=milk"))
    assert not page.locator(".votes, .judge").count()
    page.click(".admin summary")
    page.fill("#token", "a wrong token")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=This token is not the playground")
    page.goto(page.url.replace("/?q=milk", "/servers"))
    page.wait_for_selector(".server.serving")
    assert not page.locator("[id^=switch-]").count()


def test_the_token_leaves_the_address(admin_page: Any):
    """The token is taken out of the address, and can be forgotten."""
    assert "#" not in admin_page.url
    assert admin_page.locator(".votes").count()
    admin_page.click("#forget-token")
    admin_page.wait_for_selector(".admin")


def test_votes_and_judgements_are_kept(admin_page: Any, settled: Open):
    """A vote is counted; a judgement is there again after a reload."""
    admin_page.click('[data-vote="right"]')
    admin_page.wait_for_function("() => /right [1-9]/.test(document.getElementById('vote-result').textContent)")
    item = admin_page.get_attribute(f"{RIGHT} .card", "data-item")
    judged = f'{RIGHT} [data-item="{item}"] .judge'
    admin_page.select_option(judged, "3")
    admin_page.wait_for_selector(f'{judged}[data-kept="3"]')
    admin_page.reload()
    settled(admin_page)
    assert admin_page.input_value(judged) == "3"


def test_many_users_are_compared(open_page: Open, settled: Open):
    """The most different users come first, and each leads to its comparison."""
    page = open_page("/many?left=popular")
    page.fill("#users", "5")
    page.click("#run")
    page.wait_for_selector("#many-results table")
    assert page.locator("#many-results tbody tr").count() == 5
    overlaps = page.eval_on_selector_all(
        "#many-results tbody tr", "rows => rows.map(row => Number(row.cells[1].textContent))"
    )
    assert overlaps == sorted(overlaps)
    page.click("#many-results a >> nth=0")
    settled(page, "who=")
    assert page.locator(".compared").count() == 1


def test_the_release_is_described(open_page: Open):
    """Facts, models, figures and the model card are shown."""
    page = open_page("/release")
    page.wait_for_selector("#facts")
    text = page.inner_text("main")
    for part in ("tiny", "CPUExecutionProvider", "validation", "Model card", "Learned until"):
        assert part in text


def test_a_stopped_server_is_seen_as_a_degradation(admin_page: Any, settled: Open):
    """Ranking is stopped: the answer says so and is in the first stage's order; started again, it is whole."""
    admin_page.click("nav a >> nth=3")
    admin_page.click("#switch-ranking")
    admin_page.wait_for_selector("text=stopped from this page")
    admin_page.click("nav a >> nth=0")
    settled(admin_page)
    assert "Ranking does not answer" in admin_page.inner_text(f"{RIGHT} .degraded")
    assert admin_page.inner_text(f"{RIGHT} .card .probability >> nth=0") == "not ranked"
    admin_page.click("nav a >> nth=3")
    admin_page.click("#switch-ranking")
    admin_page.wait_for_selector('[data-server="ranking"].serving')


def test_links_keep_the_state(open_page: Open, settled: Open):
    """Going to another page and back keeps search and policy."""
    page = settled(open_page("/?q=milk&n=4"))
    page.fill("#search", "bread")
    settled(page, "q=bread")
    page.click("nav a >> nth=2")
    page.wait_for_url("**/release?*q=bread*")
    page.click("nav a >> nth=0")
    settled(page, "n=4")
    assert page.input_value("#search") == "bread"


def test_a_gateway_that_is_gone_is_said_in_plain_words(open_page: Open, run_playground: Callable[..., Any]):
    """The page says what to do, and can try again."""
    with run_playground({"gateways": f"127.0.0.1:{free_port()}", "timeout-s": 1}) as printed:
        page = open_page("/?q=milk", origin=printed.rstrip("/"))
        page.wait_for_selector(".failure")
        text = page.inner_text("#results")
        assert "The gateway does not answer" in text
        assert "whether its address is right" in text
        assert page.inner_text("header .badge") == "Read only"
        page.click("text=Try again >> nth=0")
        page.wait_for_selector(".failure")


def test_a_filter_that_cannot_be_used_is_said(open_page: Open, settled: Open):
    """A value that the gateway refuses is shown with the gateway's words."""
    page = settled(open_page("/?q=milk&min_price=9&max_price=1"))
    text = page.inner_text(f"{RIGHT} .failure")
    assert "does not accept this request" in text
    assert "INVALID_ARGUMENT" in text
