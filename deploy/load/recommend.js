// An open-loop load test of Recommend for k6: docs/load-testing.md. Settings are environment variables.
//
// Calls begin at their time, however long earlier ones take. A call that cannot begin in time, for lack of callers
// here, is a dropped iteration and fails the test: else a slow server would be asked less (coordinated omission).
import grpc from "k6/net/grpc";
import { Counter, Rate } from "k6/metrics";
import { SharedArray } from "k6/data";

const METHOD = "shortlist.gateway.v1.RecommendationService/Recommend";
const TARGET = __ENV.TARGET || "127.0.0.1:50051";
const RATES = (__ENV.RATES || "50").split(",").map(Number);
const DURATION_S = Number(__ENV.DURATION_S || 60);
const WARM_UP_S = Number(__ENV.WARM_UP_S || 5);
const TIMEOUT_MS = Number(__ENV.TIMEOUT_MS || 1000);
const MAX_CALLERS = Number(__ENV.MAX_CALLERS || 500);
const CODES = ["OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
  "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"];
const KINDS = ["RANKING_UNAVAILABLE", "RANKING_TOO_SLOW", "RANKING_OVERLOADED", "RETRIEVAL_UNAVAILABLE",
  "PROFILE_UNAVAILABLE", "POLICY_NOT_APPLIED"];
const OCCASIONS = ["history", "query", "both", "new_user"];
const LATENCY = "grpc_req_duration";
const QUANTILES = ["p(50)", "p(90)", "p(95)", "p(99)", "p(99.9)", "max"];

const requests = new SharedArray("requests", () => open(__ENV.REQUESTS).trim().split("\n").map(JSON.parse));
const authority = __ENV.TLS_CA ? open(__ENV.TLS_CA) : "";
const client = new grpc.Client();
client.load([__ENV.PROTOS], "shortlist/gateway/v1/gateway.proto");

// Metrics by rate and by what happened; k6 wants them all before the test begins.
const failed = new Rate("failed_share");
const degraded = new Rate("degraded_share");
const codes = Object.fromEntries(CODES.map((code) => [code, new Counter(`code_${code}`)]));
const kinds = Object.fromEntries(KINDS.map((kind) => [kind, new Counter(`degraded_${kind}`)]));

const warmUp = { warm_up: scenario(RATES[0], 0, WARM_UP_S, "warm_up") };
export const options = {
  scenarios: Object.assign(WARM_UP_S > 0 ? warmUp : {}, Object.fromEntries(
    RATES.map((rate, at) => [`rate_${rate}`, scenario(rate, WARM_UP_S + at * DURATION_S, DURATION_S, `${rate}`)]),
  )),
  thresholds: thresholds(),
  summaryTrendStats: QUANTILES,
  // Connections end when a server closes them, not when a test begins another call.
  noConnectionReuse: false,
};

function scenario(rate, startS, durationS, tag) {
  return {
    executor: "constant-arrival-rate", rate, timeUnit: "1s", startTime: `${startS}s`, duration: `${durationS}s`,
    preAllocatedVUs: Math.min(MAX_CALLERS, Math.max(50, rate)), maxVUs: MAX_CALLERS,
    gracefulStop: "10s", tags: { rate: tag },
  };
}

function thresholds() {
  const found = { dropped_iterations: ["count==0"] };
  for (const rate of RATES) {
    const of = `{rate:${rate}}`;
    found[`${LATENCY}${of}`] = [`p(99)<=${__ENV.MAX_P99_MS || 1e9}`];
    found[`failed_share${of}`] = [__ENV.MAX_FAILED_SHARE ? `rate<=${__ENV.MAX_FAILED_SHARE}` : "rate<1"];
    found[`degraded_share${of}`] = [`rate<=${__ENV.MAX_DEGRADED_SHARE || 1}`];
    for (const code of CODES) found[`code_${code}${of}`] = ["count>=0"];
    for (const kind of KINDS) found[`degraded_${kind}${of}`] = ["count>=0"];
    for (const occasion of OCCASIONS) found[`${LATENCY}{rate:${rate},occasion:${occasion}}`] = ["max>=0"];
  }
  return found;
}

let connected = false;

export default function () {
  const request = requests[Math.floor(Math.random() * requests.length)];
  const answer = answerTo(request);
  const code = CODES[Number(answer.status)] || "UNKNOWN";
  codes[code].add(1);
  failed.add(code !== "OK");
  const found = (code === "OK" && answer.message.degradations) || [];
  degraded.add(found.length > 0);
  for (const one of found) {
    const kind = String(one.kind).replace("DEGRADATION_KIND_", "");
    if (kinds[kind]) kinds[kind].add(1);
  }
}

// A connection that cannot be made is a failed call: k6 itself would leave it out.
function answerTo(request) {
  try {
    if (!connected) {
      const tls = __ENV.TLS_CA ? { cacerts: [authority] } : {};
      client.connect(TARGET, { plaintext: !__ENV.TLS_CA && !__ENV.TLS, tls, timeout: `${TIMEOUT_MS}ms` });
      connected = true;
    }
    const metadata = __ENV.TOKEN ? { authorization: `Bearer ${__ENV.TOKEN}` } : {};
    const tags = { occasion: occasionOf(request) };
    return client.invoke(METHOD, request, { timeout: `${TIMEOUT_MS}ms`, metadata, tags });
  } catch (error) {
    console.error(String(error));
    return { status: CODES.indexOf("UNAVAILABLE") };
  }
}

function occasionOf(request) {
  const history = request.history_item_ids !== undefined;
  if (request.query !== undefined) return history ? "both" : "query";
  return history ? "history" : "new_user";
}

export function handleSummary(data) {
  const rows = RATES.map((rate) => rowOf(data.metrics, rate));
  const dropped = valueOf(data.metrics, "dropped_iterations", "count") || 0;
  const broken = Object.entries(data.metrics).flatMap(([name, metric]) =>
    Object.entries(metric.thresholds || {}).filter(([, held]) => !held.ok).map(([bound]) => `${name}: ${bound}`));
  const result = { target: TARGET, duration_s: DURATION_S, rates: rows, not_begun_in_time: dropped, broken };
  const files = { stdout: tableOf(result) };
  if (__ENV.OUT) files[__ENV.OUT] = JSON.stringify(result, null, 1) + "\n";
  return files;
}

function rowOf(metrics, rate) {
  const of = `{rate:${rate}}`;
  const counts = (names, prefix) => Object.fromEntries(
    names.map((name) => [name, valueOf(metrics, `${prefix}_${name}${of}`, "count") || 0]).filter(([, count]) => count),
  );
  const byCode = counts(CODES, "code");
  const byOccasion = OCCASIONS.map((name) => [name, valuesOf(metrics, `${LATENCY}{rate:${rate},occasion:${name}}`)]);
  return {
    calls_per_s: rate,
    calls: Object.values(byCode).reduce((sum, count) => sum + count, 0),
    codes: byCode,
    degradations: counts(KINDS, "degraded"),
    degraded_share: valueOf(metrics, `degraded_share${of}`, "rate") || 0,
    latency_ms: valuesOf(metrics, `${LATENCY}${of}`),
    latency_ms_by_occasion: Object.fromEntries(byOccasion.filter(([, values]) => values.max > 0)),
  };
}

function valuesOf(metrics, name) {
  return Object.fromEntries(QUANTILES.map((quantile) => [quantile, valueOf(metrics, name, quantile)]));
}

function valueOf(metrics, name, field) {
  return metrics[name] && metrics[name].values[field];
}

function tableOf(result) {
  const cells = [["calls/s", "calls", ...QUANTILES.map((name) => `${name} ms`), "degraded", "codes"]];
  for (const row of result.rates) {
    const latencies = QUANTILES.map((name) => (row.latency_ms[name] || 0).toFixed(1));
    const found = Object.entries(row.codes).map(([code, count]) => `${code} ${count}`).join(", ");
    const share = `${(100 * row.degraded_share).toFixed(2)} %`;
    cells.push([`${row.calls_per_s}`, `${row.calls}`, ...latencies, share, found]);
  }
  const widths = cells[0].map((_, at) => Math.max(...cells.map((row) => row[at].length)));
  const lines = cells.map((row) => row.map((cell, at) => cell.padEnd(widths[at])).join("  ").trimEnd());
  lines.push("", `Calls that could not begin in time: ${result.not_begun_in_time}`);
  lines.push(...result.broken.map((bound) => `BROKEN ${bound}`));
  return `\n${lines.join("\n")}\n`;
}
