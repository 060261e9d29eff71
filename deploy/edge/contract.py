"""Writes the contract in the forms that Envoy reads, from its stubs and the HTTP rules in `protos/http.yaml`.

Usage: python deploy/edge/contract.py FOLDER

`contract.binpb` is a descriptor set whose methods carry their rules as `google.api.http` options, for the transcoder of
JSON. `contract.lua` lists the fields of each request, for the check that refuses unknown ones.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from google.api import annotations_pb2, http_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2, status_pb2  # errors carry these, and the transcoder writes them as JSON
from shortlist.gateway.v1 import gateway_pb2, rules_pb2
from shortlist.release.v1 import release_pb2

RULES: Final = Path(__file__).parents[2] / "protos" / "http.yaml"


def main() -> None:
    """Write both files into the folder of the command line."""
    folder = Path(sys.argv[1])
    rules = _rules()
    contract = _with_rules(_descriptors(), rules)
    (folder / "contract.binpb").write_bytes(contract.SerializeToString(deterministic=True))
    (folder / "contract.lua").write_text(_lua(contract, rules))


def _rules() -> dict[str, http_pb2.HttpRule]:
    """Return the HTTP rules by the full name of their method."""
    content = yaml.safe_load(RULES.read_text())
    rules = [json_format.ParseDict(one, http_pb2.HttpRule()) for one in content["http"]["rules"]]
    return {rule.selector: rule for rule in rules}


def _descriptors() -> FileDescriptorSet:
    """Return the files of the contract after those that they import, as the stubs hold them."""
    files: dict[str, FileDescriptorProto] = {}

    def add(file: FileDescriptor) -> None:
        for imported in file.dependencies:
            add(imported)
        if file.name not in files:
            file.CopyToProto(files.setdefault(file.name, FileDescriptorProto()))

    for module in (gateway_pb2, rules_pb2, release_pb2, error_details_pb2, status_pb2):
        add(module.DESCRIPTOR)
    return FileDescriptorSet(file=files.values())


def _with_rules(contract: FileDescriptorSet, rules: dict[str, http_pb2.HttpRule]) -> FileDescriptorSet:
    """Return the contract with each rule as an option of its method."""
    methods = {
        f"{file.package}.{service.name}.{method.name}": method
        for file in contract.file
        for service in file.service
        for method in service.method
    }
    for name, rule in rules.items():
        if name not in methods:
            raise SystemExit(f"protos/http.yaml: {name} is no method of the contract")
        option = methods[name].options.Extensions[annotations_pb2.http]
        option.CopyFrom(rule)
        option.ClearField("selector")
    return contract


def _lua(contract: FileDescriptorSet, rules: dict[str, http_pb2.HttpRule]) -> str:
    """Return the requests by method and path, and the fields of each message: what may be in a JSON body."""
    pool = DescriptorPool()
    for file in contract.file:
        pool.Add(file)  # type: ignore[no-untyped-call]
    requests = {}
    for name, rule in rules.items():
        service, _, method = name.rpartition(".")
        path = f"{rule.WhichOneof('pattern').upper()} {rule.post or rule.get}"
        requests[path] = pool.FindServiceByName(service).FindMethodByName(method).input_type
    messages = {message.full_name: message for request in requests.values() for message in _reached(request, set())}
    lines = ["-- Written by `make edge-contract`.", "local requests = {"]
    lines += [f'  ["{path}"] = "{request.full_name}",' for path, request in sorted(requests.items())]
    lines += ["}", "local messages = {"]
    for name, message in sorted(messages.items()):
        lines.append(f'  ["{name}"] = {{')
        lines += [f"    {field}," for one in message.fields for field in _fields(one)]
        lines.append("  },")
    return "\n".join([*lines, "}", ""])


def _reached(message: Descriptor, seen: set[str]) -> Iterator[Descriptor]:
    """Yield a message and those of its fields, each once; Google's own types have a JSON form of their own."""
    if message.full_name in seen or message.full_name.startswith("google.protobuf."):
        return
    seen.add(message.full_name)
    yield message
    for field in message.fields:
        if field.message_type is not None:
            yield from _reached(field.message_type, seen)


def _fields(field: Any) -> Iterator[str]:
    """Yield a field under both of its names, with what its value may be."""
    for name in dict.fromkeys((field.name, field.json_name)):
        yield f'["{name}"] = {_value(field)}'


def _value(field: FieldDescriptor) -> str:
    """Return a message's name, an enum's values, or true for anything."""
    if field.enum_type is not None:
        return "{" + ", ".join(f"{value.name} = true" for value in field.enum_type.values) + "}"
    if field.message_type is None or field.message_type.full_name.startswith("google.protobuf."):
        return "true"
    if field.message_type.GetOptions().map_entry:
        raise SystemExit(f"{field.full_name}: the check of JSON bodies knows no maps yet; extend json_fields.lua")
    return f'"{field.message_type.full_name}"'


if __name__ == "__main__":
    main()
