// Two sides compared over many users.

import { get, post } from "./api.js";
import { announce, field, h, replace } from "./dom.js";
import { failureBox } from "./failures.js";
import { leftRequest, queryOf, rightRequest } from "./state.js";
import { table } from "./table.js";
import { count, decimal, t } from "./text.js";

/** Show the page of many users. */
export function showMany(place, { state, config }) {
  const left = leftRequest(state) ?? rightRequest({ ...state });
  const right = rightRequest(state);
  const number = h("input", { type: "number", id: "users", min: 1, max: 100, props: { value: Math.min(100, config.users || 100) } });
  const results = h("div", { id: "many-results" });
  const wins = h("p", { class: "hint", id: "wins" });
  async function run() {
    const users = Math.min(100, Math.max(1, Math.round(Number(number.value)) || 1));
    replace(results, h("p", {}, t("many_running", { count: users })));
    const found = await post("many-users", { left, right, users });
    replace(results, found.failure ? failureBox(found.failure, run) : [h("p", { class: "compared" }, described(found)), rows(found, state)]);
    announce(found.failure ? t(`failure_${found.failure.kind}`) : described(found));
  }
  replace(
    place,
    h("h2", {}, t("page_many")),
    h("p", {}, t("many_intro")),
    h("p", {}, t("many_left", { name: t(`left_${state.left}`) }), " · ", t("many_right", { name: t("answer_both") })),
    config.users ? [field(t("many_users"), number, t("rbo_hint")), h("button", { type: "button", id: "run", onclick: run }, t("many_run"))] : failureBox({ kind: "no_users" }),
    wins,
    results,
  );
  if (config.votes) {
    get("votes").then((found) => {
      if (!found.failure) wins.textContent = t("many_wins", { ...found.wins, judgements: found.judgements });
    });
  }
}

function described(found) {
  const shown = (value, digits) => (value === null ? "–" : decimal(value, digits));
  return t("many_done", { count: count(found.rows.length), rbo: shown(found.mean_rbo, 3), overlap: shown(found.mean_overlap, 1), failed: found.failed });
}

function rows(found, state) {
  const look = (user) => h("a", { href: `/${queryOf({ ...state, who: user, h: [] })}`, "aria-label": `${t("many_open")}: ${user}` }, t("many_open"));
  return table(
    t("page_many"),
    [t("who"), t("many_rbo"), t("many_common"), t("many_open")],
    found.rows.map((row) => [row.user_id, row.failure ? t(`failure_${row.failure.kind}`) : decimal(row.rbo), row.failure ? "–" : `${row.overlap} / ${row.right}`, look(row.user_id)]),
  );
}
