"""Which execution provider runs which node of a graph.

A session's first provider is only a preference: nodes for which it has no kernel run on the CPU, with copies between
both. int8 graphs for the CPU are an example: CUDA has no ``MatMulIntegerToFloat``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

# The key that makes a session record its assignment; see `onnxruntime_session_options_config_keys.h`.
RECORD: Final = "session.record_ep_graph_assignment_info"
# onnxruntime itself prefers the CPU for arithmetic on shapes, whose results the host needs. None of these computes on
# activations; a product, sum or normalisation on the CPU is never meant.
SHAPE_OPERATORS: Final = frozenset(
    {"Shape", "Size", "ConstantOfShape", "Range", "Unsqueeze", "Squeeze", "Concat", "Slice", "Equal", "Gather"}
)
_NAMED: Final = 5


def operator_names(text: str) -> frozenset[str]:
    """Return the operators of a text that separates them by commas."""
    return frozenset(name for word in text.split(",") if (name := word.strip()))


def strays(session: Any, providers: Collection[str], allowed: Collection[str] = SHAPE_OPERATORS) -> list[str]:
    """Return the nodes that run on another provider than these, each as ``operator name``.

    Args:
        session: A session that was made with `RECORD`.
        providers: The providers, by onnxruntime's names, that nodes are meant to run on.
        allowed: The operators that may run anywhere.
    """
    return [
        f"{node.op_type} {node.name}".strip()
        for provider, node in _assigned(session)
        if provider not in providers and node.op_type not in allowed
    ]


def explain(nodes: list[str]) -> str:
    """Return the first of the nodes and how many there are, in words."""
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    return f"{len(nodes)} nodes of the graph would run on the CPU: {', '.join(nodes[:_NAMED])}{more}"


def _assigned(session: Any) -> Iterator[tuple[str, Any]]:
    for subgraph in session.get_provider_graph_assignment_info():
        for node in subgraph.get_nodes():
            yield subgraph.ep_name, node
