// The answers: one list, or two next to each other.

import { hasToken, post } from "./api.js";
import { card } from "./card.js";
import { announce, h, replace } from "./dom.js";
import { degradationBox, failureBox } from "./failures.js";
import { rememberTitles } from "./history-picker.js";
import { snippetBox } from "./snippets.js";
import { leftRequest, rightRequest } from "./state.js";
import { count, decimal, ms, percent, t } from "./text.js";
import { waterfall } from "./waterfall.js";

let latest = null;

/**
 * Ask for the state, and show the answers.
 * @param {HTMLElement} place Where to show them.
 * @param {Object} context `state`, `config`, `block`, which blocks an item, and `keepQuery`, which asks without repair.
 */
export async function showResults(place, context) {
  latest?.abort();
  const asking = (latest = new AbortController());
  const left = leftRequest(context.state);
  const sides = left === null ? [rightRequest(context.state)] : [left, rightRequest(context.state)];
  place.setAttribute("aria-busy", "true");
  if (!place.hasChildNodes()) replace(place, h("p", {}, t("waiting")));
  let found;
  try {
    found = await post("recommend", { sides }, asking.signal);
  } catch {
    return; // a later question took its place
  }
  place.removeAttribute("aria-busy");
  const retry = () => showResults(place, context);
  replace(place, found.failure ? failureBox(found.failure, retry) : answers(found, sides, context, retry));
  announce(found.failure ? t(`failure_${found.failure.kind}`) : spoken(found));
}

function spoken(found) {
  const answer = found.answers.at(-1);
  return answer.failure ? t(`failure_${answer.failure.kind}`) : summary(answer);
}

function summary(answer) {
  return t("summary", { items: count(answer.items.length), release: answer.release_id || "–", ms: ms(answer.timings.total_ms) });
}

function answers(found, sides, context, retry) {
  const names = sides.length > 1 ? ["left", "right"] : ["right"];
  const columns = names.map((side, index) => column(found, sides, index, { ...context, side, retry }));
  return [
    found.comparison && h("p", { class: "compared" }, t("summary_compare", { items: found.answers[1].items.length, overlap: found.comparison.overlap, rbo: decimal(found.comparison.rbo, 2) }), " ", h("span", { class: "hint" }, t("rbo_hint"))),
    found.comparison && voteBox(sides, context),
    h("div", { class: `columns columns-${columns.length}` }, columns),
    snippetBox(found.snippets.at(-1)),
  ];
}

function column(found, sides, index, context) {
  const answer = found.answers[index];
  const name = context.side === "right" ? t("answer_both") : t(`answer_${context.state.left}`);
  const title = context.config.gateways.length > 1 ? `${name} · ${answer.gateway}` : name;
  return h("section", { class: "column", "data-side": context.side, "aria-label": title }, h("h2", {}, title), answer.failure ? failureBox(answer.failure, context.retry) : list(answer, found, sides[index], context));
}

function list(answer, found, request, context) {
  rememberTitles(answer.items);
  const view = { ...context, request, comparison: found.comparison, grades: found.grades };
  const notes = [
    answer.ignored_history_items > 0 && t("ignored", { count: answer.ignored_history_items }),
    answer.duplicates > 0 && t("duplicates_left_out", { count: answer.duplicates }),
    answer.long_tail_share !== undefined && t("tail_share", { share: percent(answer.long_tail_share) }),
    answer.new_item_share > 0 && t("new_share", { share: percent(answer.new_item_share) }),
    answer.intra_list_diversity !== undefined && t("list_diversity", { value: decimal(answer.intra_list_diversity, 2) }),
    ...(answer.variants ?? []).map((one) => t("variant", one)),
  ].filter(Boolean);
  return [
    answer.corrected_query && correction(answer.corrected_query, request.query, context),
    h("p", { class: "hint" }, [summary(answer), ...notes].join(" · ")),
    degradationBox(answer.degradations),
    answer.items.length ? h("ol", { class: "cards" }, answer.items.map((item) => card(item, view))) : h("p", { class: "box" }, t("nothing")),
    h("details", { class: "box", open: context.side === "right" }, h("summary", {}, t("latency")), waterfall(answer)),
  ];
}

function correction(repaired, typed, { keepQuery }) {
  const instead = h("button", { type: "button", class: "small", "data-action": "keep-query", onclick: keepQuery }, t("search_typed", { query: typed }));
  return h("p", { class: "corrected" }, t("corrected", { query: repaired }), " ", instead);
}

function voteBox(sides, { config, state }) {
  if (!config.votes || !hasToken()) return null;
  const result = h("span", { class: "hint", id: "vote-result" });
  const vote = async (winner) => {
    const kept = await post("votes", { left: sides[0], right: sides[1], winner, user: state.who });
    result.textContent = kept.failure ? t(`failure_${kept.failure.kind}`) : t("vote_kept", kept.wins);
    announce(result.textContent);
  };
  const buttons = ["left", "tie", "right"].map((winner) => h("button", { type: "button", "data-vote": winner, onclick: () => vote(winner) }, t(`vote_${winner}`)));
  return h("div", { class: "row votes", role: "group", "aria-label": t("vote") }, h("span", {}, t("vote")), buttons, result);
}
