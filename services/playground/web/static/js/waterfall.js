// When each stage of an answer ran, and what each tier did.

import { h } from "./dom.js";
import { ms, t } from "./text.js";

const STAGES = ["profile", "retrieval", "ranking", "policy"];

/** Return the waterfall of an answer. */
export function waterfall(answer) {
  const timings = answer.timings ?? {};
  const total = Math.max(timings.total_ms ?? 0, answer.took_ms ?? 0, 0.001);
  let start = 0;
  const rows = STAGES.map((stage) => {
    const length = timings[`${stage}_ms`] ?? 0;
    const row = bar(t(`stage_${stage}`), start, length, total, stage);
    start += length;
    return row;
  });
  rows.push(bar(t("stage_gateway"), 0, timings.total_ms ?? 0, total, "gateway"));
  rows.push(bar(t("stage_seen"), 0, answer.took_ms ?? 0, total, "seen"));
  return h("div", { class: "waterfall" }, h("ul", {}, rows), tiers(answer.tiers ?? []));
}

function bar(name, start, length, total, stage) {
  const drawn = h("span", { class: `bar ${stage}` });
  drawn.style.setProperty("--start", `${(100 * start) / total}%`);
  drawn.style.setProperty("--length", `${(100 * length) / total}%`);
  return h("li", {}, h("span", { class: "bar-name" }, name), h("span", { class: "bar-room", "aria-hidden": "true" }, drawn), h("span", { class: "bar-time" }, ms(length)));
}

function tiers(used) {
  if (!used.length) return h("p", { class: "hint" }, t("no_text_tier"));
  return h(
    "ul",
    { class: "tiers" },
    used.map((use) =>
      h("li", {}, t("tier_use", { tier: t(`tier_${use.tier}`), scored: use.scored_items, planned: use.planned_items, left_out: use.left_out_items })),
    ),
  );
}
