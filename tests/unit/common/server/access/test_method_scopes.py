"""Every method of the contract has a scope."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

import pytest

from common.security.callers import Scope
from common.server.access.method_scopes import METHOD_SCOPES, scope_of

PROTOS: Final = Path(__file__).parents[5] / "protos" / "shortlist"


def _methods() -> dict[str, Any]:
    """Return every method of every proto of the contract, by its path."""
    found = {}
    for proto in sorted(PROTOS.rglob("*.proto")):
        name = ".".join(("shortlist", *proto.relative_to(PROTOS).with_suffix("").parts)) + "_pb2"
        for service in importlib.import_module(name).DESCRIPTOR.services_by_name.values():
            found |= {f"/{service.full_name}/{method.name}": method for method in service.methods}
    return found


def test_every_method_of_the_contract_is_listed():
    """A new method is listed with the scope that it needs, and a removed one is taken out."""
    listed = {method for method in METHOD_SCOPES if not method.startswith("/grpc.")}
    assert len(_methods()) >= 12
    assert listed == set(_methods())


@pytest.mark.parametrize("method", sorted(_methods()))
def test_what_changes_the_catalogue_or_the_release_is_administration(method: str):
    """Methods that change what all users get need `administer`, and no others do."""
    name = method.rpartition("/")[2]
    changes = name.startswith(("Activate", "Upsert", "Delete", "Set", "Update", "Put", "Create"))
    assert (scope_of(method) is Scope.ADMINISTER) == changes


def test_health_is_open_and_what_is_not_listed_is_closed():
    """Probes need nothing; a method that nobody thought of needs the highest scope."""
    assert scope_of("/grpc.health.v1.Health/Check") is None
    assert scope_of("/grpc.health.v1.Health/Watch") is None
    assert scope_of("/shortlist.gateway.v1.RecommendationService/Forgotten") is Scope.ADMINISTER
    assert scope_of("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo") is Scope.READ
