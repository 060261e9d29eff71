"""Every RPC of a server, as its reflection lists them, called with random bytes."""

from __future__ import annotations

import asyncio
import importlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import shortlist
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from testing.fuzzing.messages import MessageGenerator

# Statuses that say that the server has a fault, whatever it was sent.
FAULTS: Final = frozenset({"INTERNAL", "UNKNOWN", "UNIMPLEMENTED", "DATA_LOSS"})
_TIMEOUT_S: Final = 20.0


@dataclass
class FuzzReport:
    """What was sent, and what came of it.

    Attributes:
        sent: Inputs by method.
        statuses: Answers by status.
        faults: A sentence for the first input that showed each fault; it is reproduced by its seed.
        faulty: How many inputs showed a fault.
    """

    sent: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    faulty: int = 0

    def add_fault(self, where: str, seed: str, what: str) -> None:
        """Keep a fault, if it is the first of its kind at its place."""
        self.faulty += 1
        self.faults.setdefault(f"{where}: {what[:60]}", f"{where}, seed {seed}: {what}")


async def methods_of(channel: grpc.aio.Channel) -> list[MethodDescriptor]:
    """Return every method that a server's reflection lists."""
    _import_contract()
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]  # typed for blocking ones
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    answer = await call.read()
    pool = descriptor_pool.Default()
    services = [pool.FindServiceByName(service.name) for service in answer.list_services_response.service]
    return [method for service in services for method in service.methods]


def contract_methods() -> list[str]:
    """Return the path of every method of the contract, whether a server has it or not."""
    services = [service for module in _import_contract() for service in module.DESCRIPTOR.services_by_name.values()]
    return sorted({f"/{service.full_name}/{method.name}" for service in services for method in service.methods})


def _import_contract() -> list[Any]:
    """Import every generated module, so that the default pool knows its descriptors; returns the modules."""
    return [
        importlib.import_module(".".join(("shortlist", *file.relative_to(folder).with_suffix("").parts)))
        for folder in shortlist.__path__
        for file in sorted(Path(folder).rglob("*_pb2.py"))
    ]


async def fuzz_method(
    channel: grpc.aio.Channel, method: MethodDescriptor, words: Sequence[str], seeds: Sequence[str], report: FuzzReport
) -> None:
    """Send one input for each seed, one after the other."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    for seed in seeds:
        generator = MessageGenerator(random.Random(seed), words)
        status = await _status(channel, method, path, generator.wire_bytes(method.input_type))
        report.sent[path] += 1
        report.statuses[status.partition(":")[0]] += 1
        if status.partition(":")[0] in FAULTS or status.startswith("HANGS"):
            report.add_fault(path, seed, status)


async def _status(channel: grpc.aio.Channel, method: MethodDescriptor, path: str, content: bytes) -> str:
    """Return the status of one call; of a stream, that of its first message."""
    try:
        async with asyncio.timeout(2 * _TIMEOUT_S):
            return await _answer(channel, method, path, content)
    except grpc.aio.AioRpcError as error:
        name = error.code().name
        return f"{name}: {error.details()}"[:200] if name in FAULTS else name
    except TimeoutError:
        return "HANGS"


async def _answer(channel: grpc.aio.Channel, method: MethodDescriptor, path: str, content: bytes) -> str:
    kinds: dict[tuple[bool, bool], Any] = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }
    call = kinds[method.client_streaming, method.server_streaming](path)
    request = iter([content]) if method.client_streaming else content
    answered = call(request, timeout=_TIMEOUT_S)
    if not method.server_streaming:
        await answered
        return "OK"
    await answered.read()
    answered.cancel()
    return "OK"
