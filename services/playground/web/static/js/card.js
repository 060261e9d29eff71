// One recommended item.

import { announce, h } from "./dom.js";
import { openExplanation } from "./explain.js";
import { addToHistory } from "./history-picker.js";
import { placeholder } from "./placeholder.js";
import { decimal, money, percent, t } from "./text.js";
import { hasToken, post } from "./api.js";

/**
 * Return the card of an item.
 * @param {Object} item The item of the answer.
 * @param {Object} view `request`, `side`, `comparison`, `grades`, `state`, `block` and `config`.
 */
export function card(item, view) {
  return h(
    "li",
    { class: "card", "data-item": item.item_id },
    h("span", { class: "place" }, String(item.place)),
    placeholder(item),
    h(
      "div",
      { class: "card-text" },
      h("h3", {}, item.title || item.item_id),
      h("p", { class: "hint" }, [item.brand, item.category, item.price !== undefined && t("price", { price: money(item.price) })].filter(Boolean).join(" · ")),
      scoreLine(item),
      moveLine(item, view),
      badges(item),
      reasons(item),
      buttons(item, view),
    ),
  );
}

function scoreLine(item) {
  const parts = [t("first_stage_rank", { rank: item.first_stage_rank, score: decimal(item.first_stage_score ?? 0) })];
  if (item.cross_encoder_logit !== undefined) parts.push(t("logit", { value: decimal(item.cross_encoder_logit, 2) }));
  if (item.late_interaction_score !== undefined) parts.push(t("late", { value: decimal(item.late_interaction_score, 2) }));
  const known = item.probability !== undefined;
  const meter = known && h("meter", { min: 0, max: 1, value: item.probability, "aria-label": t("probability") });
  return h(
    "div",
    { class: "scores" },
    h("span", { class: "probability", title: known ? t("probability_hint") : null }, known ? `${t("probability")} ${percent(item.probability)}` : t("not_ranked"), meter),
    h("span", { class: "hint" }, parts.join(" · ")),
  );
}

function moveLine(item, { comparison, side }) {
  const places = comparison?.places[item.item_id];
  if (!places) return null;
  const [text, kind] = side === "left" ? leftMove(item, places, comparison) : rightMove(places);
  return h("p", { class: `move ${kind}` }, text);
}

function rightMove({ left, right }) {
  if (left === null) return [t("moved_new"), "new"];
  if (left === right) return [t("moved_same"), "same"];
  const name = left > right ? "moved_up" : "moved_down";
  return [t(name, { count: Math.abs(left - right), from: left }), name];
}

function leftMove(item, { right }, comparison) {
  if (right === null) return [t(`absent_${comparison.absent[item.item_id]}`), "absent"];
  return [t("went_to", { place: right }), "same"];
}

function badges(item) {
  const sources = item.sources.map((one) => h("li", { class: "badge" }, `${one.source} ${decimal(one.score)}`));
  const tier = item.tier && item.tier !== "unspecified" && h("li", { class: "badge tier" }, t(`tier_${item.tier}`));
  const tail = item.long_tail && h("li", { class: "badge tail" }, t("long_tail"));
  const fresh = item.new_item && h("li", { class: "badge tail" }, t("new_item"));
  const replaced = item.replaced_item_id && h("li", { class: "badge tail" }, t("replaced", { item: item.replaced_item_id }));
  return h("ul", { class: "badges", "aria-label": t("sources") }, sources, tier, tail, fresh, replaced);
}

function reasons(item) {
  if (!item.reasons.length) return null;
  return h("ul", { class: "reasons", "aria-label": t("reasons") }, item.reasons.map((reason) => h("li", { "data-kind": reason.kind }, reason.text)));
}

function buttons(item, view) {
  const name = item.title || item.item_id;
  const button = (label, action, act) =>
    h("button", { type: "button", class: "small", "data-action": action, "aria-label": `${label}: ${name}`, onclick: act }, label);
  return h(
    "div",
    { class: "row" },
    view.side === "right" && button(t("explain"), "explain", () => openExplanation(item, view.request)),
    view.side === "right" && button(t("block"), "block", () => view.block(item.item_id)),
    button(t("add_to_history"), "history", () => addToHistory(item)),
    judgement(item, view),
  );
}

function judgement(item, { request, grades, config }) {
  if (!config.votes || !request.query || !hasToken()) return null;
  const given = grades?.[item.item_id];
  const option = (value, words) => h("option", { value, props: { selected: String(given ?? "") === value } }, words);
  const keep = async (event) => {
    const value = event.target.value;
    const kept = await post("judgements", { query: request.query, item_id: item.item_id, relevance: value === "" ? null : Number(value) });
    announce(kept.failure ? t(`failure_${kept.failure.kind}`) : t("judgement_kept"));
    if (!kept.failure) event.target.dataset.kept = value;
  };
  return h(
    "select",
    { class: "small judge", "aria-label": `${t("judge")} ${item.title}`, onchange: keep },
    option("", t("judge_none")),
    ["0", "1", "2", "3"].map((grade) => option(grade, t(`grade_${grade}`))),
  );
}
