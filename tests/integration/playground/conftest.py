"""A playground on the tiny shop's release, and a real Chromium that looks at it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from pipeline.data.dataset.dataset import Dataset
from pipeline.playground import write_users

# A browser's package and Chromium are no part of `make test`.
IS_ASKED: Final = bool(os.environ.get("SHORTLIST_BROWSER"))
CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE: Final = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
ANSWER_MS: Final = 60_000
_PRINTED: Final = "The playground is at "


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip these tests, with the reason, unless they are asked for."""
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in here if not IS_ASKED else []:
        item.add_marker(pytest.mark.skip(reason="these need Chromium: make test-playground"))


@contextmanager
def _running(flags: dict[str, Any], log: Path) -> Iterator[str]:
    """Run the program; yield the printed address, with its token if there is one."""
    command = [sys.executable, "-m", "services.playground", *(f"--{name}={value}" for name, value in flags.items())]
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)  # noqa: S603 - our own
    assert process.stdout is not None
    try:
        lines = iter(process.stdout.readline, "")
        printed = next((line for line in lines if _PRINTED in line), None)
        assert printed is not None, log.read_text()
        yield printed.partition(_PRINTED)[2].strip()
    finally:
        process.terminate()
        # What it still writes must not fill the pipe that it waits for.
        process.communicate(timeout=60)


@pytest.fixture(scope="session")
def run_playground(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], AbstractContextManager[str]]:
    """Return the function that runs a playground on a free port."""

    def run(flags: dict[str, Any]) -> AbstractContextManager[str]:
        return _running({"port": 0} | flags, tmp_path_factory.mktemp("log") / "playground.log")

    return run


@pytest.fixture(scope="session")
def address(
    run_playground: Callable[..., Any],
    tiny_release: Path,
    tiny_dataset: Dataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """Return the address of a playground that started its servers, ending with the admin token."""
    release = os.environ.get("SHORTLIST_PLAYGROUND_RELEASE")
    folder = tmp_path_factory.mktemp("playground")
    users = folder / "users.jsonl"
    write_users(tiny_dataset, users, 20)
    given = os.environ.get("SHORTLIST_PLAYGROUND_USERS") if release else None
    flags = {"release": release or tiny_release, "data-dir": folder, "judgements": folder, "users": given or users}
    with run_playground(flags) as printed:
        yield printed


@pytest.fixture(scope="session")
def base(address: str) -> str:
    """Return the address without the token and the last slash."""
    return address.partition("#")[0].rstrip("/")


@pytest.fixture(scope="session")
def browser(address: str) -> Iterator[Any]:
    """Return Chromium, once the release is built: with Playwright's loop, no other can run on this thread."""
    del address
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - it is not installed by `make test`

    assert CHROMIUM is not None, "Chromium is missing: apt-get install chromium"
    with sync_playwright() as playwright, ExitStack() as opened:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        opened.callback(found.close)
        yield found


@pytest.fixture
def open_page(browser: Any, base: str) -> Iterator[Callable[..., Any]]:
    """Return the function that opens a page of its own; no page may have errors or ask anybody else."""
    with ExitStack() as opened:
        faults: list[str] = []

        def watch(page: Any, origin: str) -> None:
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("request", lambda asked: asked.url.startswith((f"{origin}/", "data:")) or faults.append(asked.url))
            # Refused calls are written to the console by the browser itself; what the page shows of them is tested.
            page.on("console", lambda line: "Content Security Policy" in line.text and faults.append(line.text))

        def open_(url: str = "/", width: int = 1280, origin: str = base, **options: Any) -> Any:
            context = browser.new_context(viewport={"width": width, "height": 800}, locale="en-GB", **options)
            opened.callback(context.close)
            context.set_default_timeout(ANSWER_MS)
            page = context.new_page()
            watch(page, origin)
            page.goto(f"{origin}{url}")
            return page

        yield open_
        assert not faults


@pytest.fixture
def admin_page(open_page: Callable[..., Any], address: str) -> Any:
    """Return the first page with the admin token."""
    return settled(open_page(f"/?q=milk#{address.partition('#')[2]}"))


def settled(page: Any, query: str = "") -> Any:
    """Return the page once the answer to its latest question is shown, and its address has ``query``."""
    page.wait_for_function(
        """query => {
            const results = document.getElementById("results");
            return results && !results.hasAttribute("aria-busy") && results.querySelector(".card, .box")
                && decodeURIComponent(location.search).includes(query);
        }""",
        arg=query,
    )
    return page


@pytest.fixture(name="settled")
def _settled() -> Callable[..., Any]:
    return settled
