"""The commands that sign releases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.release.store import open_release, sign_release
from common.security.signature import generate_keys, read_private_key
from pipeline.commands.console import CONSOLE


def make_signing_key(
    out: Annotated[Path, typer.Option(help="File for the private key; the public key goes next to it, as NAME.pub.")],
) -> None:
    """Make a pair of Ed25519 keys to sign releases with."""
    public = out.with_name(out.name + ".pub")
    identity = generate_keys(out, public)
    CONSOLE.print(f"Key {identity}: sign with {out}, and give servers --release-public-key {public}")


def sign_releases(
    release: Annotated[str, typer.Argument(help="Folder of a release, or of a store to sign its current release.")],
    key: Annotated[Path, typer.Option(help="Private key that `signing-key` made.")],
) -> None:
    """Sign a release, after verifying its files."""
    private = read_private_key(key)
    opened = open_release(release)
    sign_release(opened.path, private)
    CONSOLE.print(f"Release {opened.id} in {opened.path} is signed")
