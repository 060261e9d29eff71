"""The application as a whole: pages, files, words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from services.playground.web import app as module
from services.playground.web.app import PAGES
from testing.web.asgi_call import call

STATIC = Path(module.__file__).parent / "static"
SCRIPTS = sorted((STATIC / "js").glob("*.js"))
# Names that are put together from parts in the code.
MADE = ("absent_", "answer_", "degraded_", "failure_", "grade_", "left_", "remedy_", "server_", "stage_", "theme_")


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_is_served(app: ASGIApp, path: str):
    """Each address shows the page, which loads nothing from elsewhere and has nothing inline."""
    answer = await call(app, path)
    text = answer.body.decode()
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert not re.search(r"https?://|<style|\son\w+=|style=|<script(?![^>]*src=)", text)


@pytest.mark.parametrize("file", [*SCRIPTS, STATIC / "style.css"], ids=lambda file: file.name)
async def test_every_file_is_served(app: ASGIApp, file: Path):
    """Scripts and styles have their types, so that browsers take them in spite of nosniff."""
    answer = await call(app, f"/static/{file.relative_to(STATIC)}")
    assert answer.status == 200
    assert answer.headers["content-type"].partition(";")[0] in {"text/javascript", "text/css"}
    assert answer.body.count(b"\n") < 300


async def test_what_is_not_there_is_404(app: ASGIApp):
    """No path leads out of the folder of files."""
    for path in ("/none", "/static/none.js", "/static/../app.py", "/static/%2e%2e/app.py"):
        assert (await call(app, path)).status == 404


async def test_the_health_is_answered(app: ASGIApp):
    """Probes get an answer without a token."""
    assert (await call(app, "/health")).body == b"ok\n"


def _words(language: str) -> dict[str, str]:
    text = (STATIC / "js" / f"text-{language}.js").read_text()
    return dict(re.findall(r'^  (\w+): "(.*)",$', text, re.MULTILINE))


def test_both_languages_have_the_same_words():
    """No name lacks its words in a language, and both fill in the same values."""
    english, chinese = _words("en"), _words("zh")
    assert english.keys() == chinese.keys()
    assert len(english) > 150
    for name, words in english.items():
        assert set(re.findall(r"\{\w+\}", words)) == set(re.findall(r"\{\w+\}", chinese[name])), name


def test_every_name_in_the_code_has_words_and_none_is_left_over():
    """Names of words in the scripts exist; words that no script names are gone."""
    english = _words("en")
    code = "".join(file.read_text() for file in SCRIPTS if not file.name.startswith("text-"))
    named = set(re.findall(r'\bt\("(\w+)"', code))
    assert not named - english.keys()
    texts = set(re.findall(r'"(\w+)"', code))
    left_over = {name for name in english if name not in texts and not name.startswith(MADE)}
    assert not {name for name in left_over if not name.startswith(("tier_", "release_", "explain_", "moved_", "vote_"))}


def test_no_script_makes_markup_of_text():
    """Text is never read as markup or as code."""
    for file in SCRIPTS:
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", file.read_text()
        )
