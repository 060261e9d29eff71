"""A channel whose certificates and token can be replaced while it is open.

gRPC reads a channel's certificates once, when it is created. So this channel opens another one when the files have
changed, makes new calls on that, and closes the old one once its calls have ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

import grpc

from common.security.certificates import TlsMaterial
from common.server.access.channel_security import ChannelSecurity, channel_credentials

# How long the calls of a replaced channel may still take; activations are the longest ones.
_OLD_CALLS_S: Final = 600.0
Options = Sequence[tuple[str, Any]]


class SecuredChannel(grpc.aio.Channel):
    """A channel that follows the files of its certificates and token.

    Args:
        target: Any gRPC target.
        security: What the client shows and checks.
        options: Options of the channel.

    Raises:
        BadCertificate: The certificates cannot be used.
        BadTokenFile: The token cannot be used.
    """

    def __init__(self, target: str, security: ChannelSecurity, options: Options) -> None:
        self._target = target
        self._options = list(options)
        if security.server_name:
            self._options.append(("grpc.ssl_target_name_override", security.server_name))
        self._material = security.files.reloaded() if security.tls else None
        self._token = security.open_token()
        self._used: TlsMaterial | None = None
        self._replaced: dict[asyncio.Task[None], grpc.aio.Channel] = {}
        self._channel = self._open()

    def current(self) -> grpc.aio.Channel:
        """Return the channel for the next call."""
        if self._material is not None and self._material.get() is not self._used:
            self._retire(self._channel)
            self._channel = self._open()
        return self._channel

    def metadata(self, given: Any) -> Any:
        """Return the metadata of a call with the client's token."""
        return (*(given or ()), *self._token.get())

    async def __aenter__(self) -> Self:
        """Return the channel."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the channel."""
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Close the channel, and what is left of replaced ones."""
        replaced = dict(self._replaced)
        for task in replaced:
            task.cancel()
        await asyncio.gather(*replaced, return_exceptions=True)
        for channel in (*replaced.values(), self._channel):
            await channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the state of the connection."""
        return self.current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the state is another."""
        await self.current().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until there is a connection."""
        await self.current().channel_ready()

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        """Return a method with one request and one response."""
        return _Method(self, lambda channel: channel.unary_unary(*arguments, **options))

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        """Return a method with one request and a stream of responses."""
        return _Method(self, lambda channel: channel.unary_stream(*arguments, **options))

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        """Return a method with a stream of requests and one response."""
        return _Method(self, lambda channel: channel.stream_unary(*arguments, **options))

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        """Return a method with streams of requests and responses."""
        return _Method(self, lambda channel: channel.stream_stream(*arguments, **options))

    def _open(self) -> grpc.aio.Channel:
        if self._material is None:
            return grpc.aio.insecure_channel(self._target, options=self._options)
        self._used = self._material.get()
        return grpc.aio.secure_channel(self._target, channel_credentials(self._used), options=self._options)

    def _retire(self, channel: grpc.aio.Channel) -> None:
        task = asyncio.create_task(channel.close(_OLD_CALLS_S))
        self._replaced[task] = channel  # the event loop itself holds tasks weakly
        task.add_done_callback(lambda ended: self._replaced.pop(ended, None))


class _Method:
    """A method of the channel, called on whichever connection is current."""

    def __init__(self, channel: SecuredChannel, create: Callable[[grpc.aio.Channel], Any]) -> None:
        self._channel = channel
        self._create = create
        self._of: grpc.aio.Channel | None = None
        self._method: Any = None

    def __call__(self, *arguments: Any, metadata: Any = None, **options: Any) -> Any:
        """Make a call."""
        channel = self._channel.current()
        if channel is not self._of:
            self._of, self._method = channel, self._create(channel)
        return self._method(*arguments, metadata=self._channel.metadata(metadata), **options)
