// Checks objects of operators against their schemas, unknown fields included. Reads a JSON array from standard input,
// prints a line for each fault, and ends with 1 if there is one.
import { readFileSync } from "node:fs";
import { Certificate } from "@kubernetes-models/cert-manager/cert-manager.io/v1/Certificate";
import { GRPCRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/GRPCRoute";
import { HTTPRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute";
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject";
import { PodMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";

const KINDS = { Certificate, GRPCRoute, HTTPRoute, PodMonitor, PrometheusRule, ScaledObject };
const TOP = new Set(["apiVersion", "kind", "metadata", "spec"]);

// The schemas' validators ignore fields that they do not know, so what they never read is unknown.
function watched(value, path, read) {
  if (value === null || typeof value !== "object") return value;
  return new Proxy(value, {
    get(target, name) {
      if (typeof name === "symbol") return target[name];
      read.add(`${path}.${name}`);
      return watched(target[name], `${path}.${name}`, read);
    },
  });
}

function* fields(value, path) {
  if (value === null || typeof value !== "object") return;
  for (const [name, part] of Object.entries(value)) {
    yield `${path}.${name}`;
    yield* fields(part, `${path}.${name}`);
  }
}

function faults(object) {
  const Kind = KINDS[object.kind];
  if (Kind === undefined || Kind.apiVersion !== object.apiVersion) {
    return [`${object.apiVersion} ${object.kind} is not known`];
  }
  const found = Object.keys(object).filter((name) => !TOP.has(name)).map((name) => `.${name} is unknown`);
  const read = new Set();
  try {
    watched(new Kind(object), "", read).validate(); // the constructor copies, and reads everything
  } catch (error) {
    found.push(error.message);
  }
  const unread = [...fields(object, "")].filter((field) => !read.has(field));
  return [...found, ...unread.map((field) => `${field} is unknown`)];
}

const objects = JSON.parse(readFileSync(0, "utf8"));
const lines = objects.flatMap((one) => faults(one).map((fault) => `${one.kind} ${one.metadata?.name}: ${fault}`));
for (const line of lines) console.log(line);
process.exitCode = lines.length ? 1 : 0;
