// The whole state is in the URL, so that a view can be sent to somebody.

export const RULES = [
  { name: "min_probability", param: "threshold", kind: "share", step: 0.01 },
  { name: "max_per_brand", param: "per_brand", kind: "count" },
  { name: "max_per_category", param: "per_category", kind: "count" },
  { name: "min_long_tail_share", param: "tail", kind: "share", step: 0.05 },
  { name: "min_new_item_share", param: "new", kind: "share", step: 0.05 },
  { name: "diversity", param: "diversity", kind: "share", step: 0.05 },
  { name: "exclude_history", param: "no_history", kind: "flag" },
  { name: "exclude_purchased", param: "no_purchased", kind: "flag" },
  { name: "keep_duplicates", param: "duplicates", kind: "flag" },
];

const TEXTS = ["q", "keep", "user", "who", "brand", "category", "min_price", "max_price", "left", "gateway", "left_gateway", "pinned", "lang", "theme"];
const LISTS = ["h", "block"];
export const DEFAULTS = { n: "12", left: "first" };

/** Read the state from the address. */
export function readState() {
  const params = new URLSearchParams(location.search);
  const state = {};
  for (const name of [...TEXTS, "n", ...RULES.map((rule) => rule.param)]) state[name] = params.get(name) ?? DEFAULTS[name] ?? "";
  for (const name of LISTS) state[name] = params.getAll(name);
  return state;
}

/** Return the query of an address, without what is as by default. */
export function queryOf(state) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) {
    if (name === "h" && state.who) continue; // the history is that of the shop's user
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== "" && one !== (DEFAULTS[name] ?? "")) params.append(name, one);
    }
  }
  const text = params.toString();
  return text ? `?${text}` : "";
}

/** Put the state into the address. */
export function writeState(state, path = location.pathname) {
  history.replaceState(null, "", path + queryOf(state));
}

// What changes the order of both stages has no part in what they are compared with.
const PLAIN = { min_probability: null, min_long_tail_share: null, min_new_item_share: null, diversity: null };

const number = (text) => (text === "" || Number.isNaN(Number(text)) ? null : Number(text));

/** Return the policy of the state. */
export function rulesOf(state) {
  const rules = { stages: "both", blocked_item_ids: state.block };
  for (const rule of RULES) {
    if (rule.kind === "flag") rules[rule.name] = state[rule.param] === "1";
    else rules[rule.name] = number(state[rule.param]);
  }
  return rules;
}

function conditionsOf(state) {
  const values = {};
  for (const name of ["brand", "category"]) {
    const accepted = state[name].split("|").map((part) => part.trim()).filter(Boolean);
    if (accepted.length) values[name] = accepted;
  }
  return { values, min_price: number(state.min_price), max_price: number(state.max_price) };
}

/** Return the request of the right side: what is recommended. */
export function rightRequest(state) {
  return {
    gateway: state.gateway,
    user_id: state.user,
    query: state.q,
    keep_query: state.keep === "1",
    history: state.h,
    where: conditionsOf(state),
    limit: Math.min(100, Math.max(1, Math.round(number(state.n) ?? 12))),
    rules: rulesOf(state),
  };
}

/** Return the request of the left side: what it is compared with; null for nothing. */
export function leftRequest(state) {
  const right = rightRequest(state);
  const gateway = state.left_gateway || right.gateway;
  const plain = { stages: "both" };
  const kinds = {
    none: () => null,
    first: () => ({ ...right, gateway, rules: { ...right.rules, ...PLAIN, stages: "first" } }),
    popular: () => ({ ...right, gateway, rules: { ...right.rules, ...PLAIN, stages: "popular" } }),
    no_policy: () => ({ ...right, gateway, rules: plain }),
    same: () => ({ ...right, gateway }),
    pinned: () => ({ ...right, ...pinnedSide(state) }),
  };
  return (kinds[state.left] ?? kinds.first)();
}

/** What is kept when the right side is pinned as the left one. */
export function pinOf(state) {
  const { gateway, where, rules } = rightRequest(state);
  return JSON.stringify({ gateway, where, rules });
}

function pinnedSide(state) {
  try {
    const { gateway = "", where = {}, rules = {} } = JSON.parse(state.pinned);
    return { gateway, where, rules };
  } catch {
    return {};
  }
}
