"""The parts that the HTTP methods of the playground work with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.playground.comparison.judgements import Judgements
from services.playground.comparison.users import User
from services.playground.gateways.gateways import Gateways
from services.playground.servers.local_servers import LocalServers
from services.playground.servers.state import Servers
from services.playground.web.protection import AdminToken


@dataclass(frozen=True)
class Site:
    """What the page shows and may change.

    Attributes:
        gateways: The gateways to ask.
        servers: The servers whose state is shown.
        admin: Who may change something.
        users: Users to choose from.
        judgements: Where votes are kept; None if they are not.
        local: The servers that the playground started itself; None if it did not.
    """

    gateways: Gateways
    servers: Servers
    admin: AdminToken
    users: Sequence[User] = ()
    judgements: Judgements | None = None
    local: LocalServers | None = None
