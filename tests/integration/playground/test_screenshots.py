"""Pictures of the page for the documentation; `make screenshots` takes them of the demo's release."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

Open = Callable[..., Any]
FOLDER: Final = Path(os.environ.get("SHORTLIST_SCREENSHOTS") or "dist/playground")
# A household of the demo's data.
HISTORY: Final = "&".join(
    f"h={item}" for item in ("1076875", "1085604", "1092026", "844165", "945776", "986912", "902202", "950550")
)
VIEWS: Final = {
    "playground": (f"/?n=6&{HISTORY}", ".card"),
    "playground-dark": (f"/?n=6&theme=dark&lang=zh&{HISTORY}", ".card"),
    "playground-servers": ("/servers", ".server.serving table"),
}
# Chromium writes WebP, which Playwright does not.
_AS_WEBP: Final = """async png => {
    const image = new Image();
    image.src = "data:image/png;base64," + png;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.width, image.height];
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL("image/webp", 0.8).split(",")[1];
}"""


@pytest.mark.parametrize("name", VIEWS)
def test_a_picture_is_taken(open_page: Open, browser: Any, name: str):
    """The picture is small enough for a repository."""
    url, ready = VIEWS[name]
    page = open_page(url)
    page.wait_for_selector(ready)
    png = base64.b64encode(page.screenshot()).decode()
    empty = browser.new_page()
    try:
        webp = base64.b64decode(empty.evaluate(_AS_WEBP, png))
    finally:
        empty.close()
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.webp").write_bytes(webp)
    assert 5_000 < len(webp) < 150_000
