// Why an item has its place, in a dialog.

import { post } from "./api.js";
import { h, replace, uniqueId } from "./dom.js";
import { failureBox } from "./failures.js";
import { table } from "./table.js";
import { decimal, t } from "./text.js";

const SHOWN = 12;

/** Open the dialog for an item of an answer. */
export async function openExplanation(item, request) {
  const title = uniqueId("explanation");
  const content = h("div", {}, h("p", {}, t("waiting")));
  const dialog = h(
    "dialog",
    { "aria-labelledby": title, class: "explanation" },
    h("h2", { id: title }, t("explain_title", { title: item.title })),
    content,
    h("button", { type: "button", onclick: () => dialog.close() }, t("close")),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  const found = await post("explain", { request, item_id: item.item_id });
  replace(content, found.failure ? failureBox(found.failure) : explained(found));
}

function explained({ rank, ranking }) {
  if (!ranking) return h("p", {}, t("explain_none"));
  return [
    h("p", {}, t("explain_rank", { rank, log_odds: decimal(ranking.log_odds, 2), base: decimal(ranking.base_log_odds, 2) })),
    featureTable(ranking.features),
    partTable("explain_history", ranking.history_items),
    partTable("explain_query", ranking.query_words),
    partTable("explain_words", ranking.item_words),
  ];
}

const strongest = (parts, of) => [...parts].sort((a, b) => Math.abs(of(b)) - Math.abs(of(a))).slice(0, SHOWN);

function featureTable(features) {
  const rows = strongest(features, (one) => one.contribution).map((one) => [one.name, decimal(one.value ?? 0), decimal(one.contribution)]);
  return table(t("explain_features"), [t("explain_feature"), t("explain_value"), t("explain_contribution")], rows);
}

function partTable(caption, parts) {
  const moved = parts.filter((one) => one.log_odds_contribution !== 0);
  if (!moved.length) return null;
  const rows = strongest(moved, (one) => one.log_odds_contribution).map((one) => [one.part, decimal(one.log_odds_contribution)]);
  return table(t(caption), [t("part"), t("explain_contribution")], rows);
}
