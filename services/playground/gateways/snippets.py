"""A request as code: Python with the client, Node with gRPC, grpcurl in a shell."""

from __future__ import annotations

import json
import shlex
from typing import Any

from google.protobuf.json_format import MessageToDict
from shortlist.client.requests import recommend_request

from services.playground.gateways.request import AskedRequest, Conditions, Rules

_METHOD = "shortlist.gateway.v1.RecommendationService/Recommend"


def snippets(asked: AskedRequest, target: str, *, tls: bool) -> dict[str, str]:
    """Return the request as `python`, `node` and `grpcurl`; tokens are not part of it.

    Args:
        asked: The request.
        target: The gateway's address.
        tls: Whether the gateway speaks TLS.
    """
    return {
        "python": _python(asked, target, tls=tls),
        "node": _node(asked, target, tls=tls),
        "grpcurl": _grpcurl(asked, target, tls=tls),
    }


def _message(asked: AskedRequest) -> dict[str, Any]:
    request = recommend_request(**asked.arguments(), explain=True)
    found: dict[str, Any] = MessageToDict(request, preserving_proto_field_name=True)
    return found


def _grpcurl(asked: AskedRequest, target: str, *, tls: bool) -> str:
    plain = "" if tls else "-plaintext "
    request = shlex.quote(json.dumps(_message(asked), ensure_ascii=False))
    return f"grpcurl {plain}-d {request} {shlex.quote(target)} {_METHOD}\n"


def _node(asked: AskedRequest, target: str, *, tls: bool) -> str:
    credentials = "grpc.credentials.createSsl()" if tls else "grpc.credentials.createInsecure()"
    request = json.dumps(_message(asked), ensure_ascii=False, indent=2)
    return f"""import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const contract = loader.loadSync("shortlist/gateway/v1/gateway.proto", {{ includeDirs: ["protos"], keepCase: true }});
const {{ RecommendationService }} = grpc.loadPackageDefinition(contract).shortlist.gateway.v1;
const gateway = new RecommendationService({json.dumps(target)}, {credentials});
gateway.Recommend({request}, (error, answer) => {{
  if (error) throw error;
  for (const item of answer.items) console.log(item.item_id, item.title, item.probability);
}});
"""


def _python(asked: AskedRequest, target: str, *, tls: bool) -> str:
    policy = _changed(asked.rules, Rules())
    condition = _condition(asked.where)
    names = ["Client", *(["Policy"] if policy else []), *condition[1], *(["Tls"] if tls else [])]
    arguments = [
        *([f"user_id={asked.user_id!r}"] if asked.user_id else []),
        *([f"query={asked.query!r}"] if asked.query else []),
        *([f"history={list(asked.history)!r}"] if asked.history else []),
        *([f"where={condition[0]}"] if condition[0] else []),
        f"limit={asked.limit}",
        *([f"policy=Policy({policy})"] if policy else []),
        *(["keep_query=True"] if asked.keep_query else []),
        "explain=True",
    ]
    listed = "".join(f"        {argument},\n" for argument in arguments)
    connection = f"{target!r}, tls=Tls()" if tls else repr(target)
    return f"""from shortlist.client import {", ".join(sorted(names))}

with Client({connection}) as client:
    answer = client.recommend(
{listed}    )
    for item in answer:
        print(item.item_id, item.title, item.probability, *item.reasons)
"""


def _changed(rules: Rules, default: Rules) -> str:
    given, usual = rules.model_dump(), default.model_dump()
    return ", ".join(f"{name}={_plain(value)!r}" for name, value in given.items() if value != usual[name])


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _condition(where: Conditions) -> tuple[str, list[str]]:
    """Return the filter as code, and the names that it uses."""
    parts = [
        f"match({', '.join(map(repr, (attribute, *accepted)))})"
        for attribute, accepted in where.values.items()
        if accepted
    ]
    names = ["match"] if parts else []
    if where.min_price is not None or where.max_price is not None:
        parts.append(f"price_range({where.min_price!r}, {where.max_price!r})")
        names.append("price_range")
    if not parts:
        return "", []
    return f"all_of({', '.join(parts)})", ["all_of", *names]
