"""``releases``: which release is served, activation, roll-back."""

from __future__ import annotations

import argparse
import posixpath
from typing import Any

from shortlist.cli import checkout
from shortlist.cli.connecting import connect, options


def add_commands(commands: Any) -> None:
    """Add the commands to a parser."""
    releases = commands.add_parser("releases", help="list, activate and roll back releases")
    actions = releases.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="list the releases of a store, newest first (in the checkout)")
    listed.set_defaults(run=_list)
    listed.add_argument("store", help="folder or URL of the release store")
    parent = options()
    actions.add_parser("current", parents=[parent], help="print what the gateway serves").set_defaults(run=_current)
    activate = actions.add_parser("activate", parents=[parent], help="make all servers serve another release")
    activate.set_defaults(run=_activate)
    activate.add_argument("location", help="path or URL of a release or store, as the servers see it")
    back = actions.add_parser("rollback", parents=[parent], help="activate the release served before")
    back.set_defaults(run=_roll_back)


def _list(arguments: argparse.Namespace) -> int:
    return checkout.run("releases", [arguments.store])


def _current(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        answer = client.release()
    release = answer.release
    print(f"release   {release.release_id}")
    print(f"built     {release.created_at.ToJsonString()}")
    print(f"location  {release.location}")
    print(f"data      {release.data_source}")
    print(f"items     {release.items}")
    print(f"previous  {answer.previous_release_id or '-'}")
    return 0


def _activate(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        answer = client.activate_release(arguments.location)
    print(f"serving {answer.release.release_id}; before, {answer.previous_release_id or 'none'}")
    return 0


def _roll_back(arguments: argparse.Namespace) -> int:
    """Activate the previous release, of the same store as the current one."""
    with connect(arguments) as client:
        answer = client.release()
        previous, location = answer.previous_release_id, answer.release.location.rstrip("/")
        if not previous:
            raise ValueError("no release was served before this one; use `shortlist releases activate LOCATION`")
        store = posixpath.dirname(location) if location.endswith(answer.release.release_id) else location
        activated = client.activate_release(f"{store}/{previous}")
    print(f"serving {activated.release.release_id} again; before, {activated.previous_release_id}")
    return 0
