"""The files of Envoy that are made from the contract."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from shortlist.gateway.v1 import gateway_pb2

ROOT = Path(__file__).parents[4]
WRITTEN = ROOT / "deploy" / "helm" / "shortlist" / "files" / "edge"


def test_envoy_has_the_current_contract(tmp_path: Path):
    """`make edge-contract` would write the same files."""
    subprocess.run([sys.executable, ROOT / "deploy" / "edge" / "contract.py", tmp_path], check=True)  # noqa: S603
    made, written = (
        {file.name: file for file in FileDescriptorSet.FromString((folder / "contract.binpb").read_bytes()).file}
        for folder in (tmp_path, WRITTEN)
    )
    remedy = "the contract changed: run `make edge-contract`"
    assert made == written, remedy
    assert (tmp_path / "contract.lua").read_text() == (WRITTEN / "contract.lua").read_text(), remedy


def test_every_method_of_the_gateway_has_a_path():
    """A new method needs a rule in `protos/http.yaml`; it has it in the descriptor as well."""
    rules = yaml.safe_load((ROOT / "protos" / "http.yaml").read_text())["http"]["rules"]
    service = gateway_pb2.DESCRIPTOR.services_by_name["RecommendationService"]
    assert {method.full_name for method in service.methods} <= {rule["selector"] for rule in rules}
    contract = FileDescriptorSet.FromString((WRITTEN / "contract.binpb").read_bytes())
    with_paths = {
        f"{file.package}.{service.name}.{method.name}"
        for file in contract.file
        for service in file.service
        for method in service.method
        if method.options.Extensions[annotations_pb2.http].body == "*"
    }
    assert with_paths == {rule["selector"] for rule in rules if "post" in rule}
