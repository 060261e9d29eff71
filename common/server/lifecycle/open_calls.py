"""How many calls are open in gRPC, handed over to Python or not yet, by its own statistics (channelz)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

import grpc
from grpc._cython import cygrpc  # grpcio-channelz reads channelz in the same way

OPTION: Final = ("grpc.enable_channelz", 1)


class CountedServer:
    """A server whose open calls are counted, if it was made with `OPTION`.

    Args:
        make: Makes the server.

    Attributes:
        server: The server.
    """

    def __init__(self, make: Callable[[], grpc.aio.Server]) -> None:
        before = _newest(0)
        self.server = make()
        self._number = _newest(before)

    def open_calls(self) -> int:
        """Return how many of its calls are open; 0 if nobody counts."""
        try:
            data = json.loads(cygrpc.channelz_get_server(self._number))["server"]["data"]
        except ValueError:  # it was made without the option
            return 0
        begun, succeeded, failed = (int(data.get(f"calls{each}", 0)) for each in ("Started", "Succeeded", "Failed"))
        return begun - succeeded - failed


def _newest(number: int) -> int:
    """Return the highest number of a server of this process, which are numbered as they are made."""
    while found := json.loads(cygrpc.channelz_get_servers(number + 1)).get("server"):
        number = max(int(server["ref"]["serverId"]) for server in found)
    return number
