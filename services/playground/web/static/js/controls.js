// The controls: search, user, filters, policy, what to compare with.

import { get } from "./api.js";
import { debounced, field, h, replace } from "./dom.js";
import { historyPicker } from "./history-picker.js";
import { DEFAULTS, RULES, pinOf } from "./state.js";
import { t } from "./text.js";

const LEFT = ["first", "popular", "no_policy", "same", "pinned", "none"];

/**
 * Return the form of all controls.
 * @param {Object} state The state, which the controls change.
 * @param {Object} config What the playground offers.
 * @param {function} changed Called after each change.
 */
export function controls(state, config, changed) {
  const soon = debounced(changed);
  const set = (name, value, act = soon) => {
    state[name] = value;
    act();
  };
  const form = h("form", { class: "controls", id: "controls", "aria-label": t("rules"), onsubmit: (event) => event.preventDefault() });
  const draw = () =>
    replace(
      form,
      h("h2", { class: "visually-hidden" }, t("rules")),
      searchField(state, set),
      group("who", historyPicker(state, config, set), true),
      group("filters", filterFields(state, set)),
      group("rules", ruleFields(state, set, draw), true),
      group("compare", compareFields(state, config, set, draw), true),
      h("button", { type: "button", id: "reset", onclick: () => reset(state, changed, draw) }, t("reset")),
    );
  draw();
  return { form, draw };
}

function group(name, content, open = false) {
  return h("details", { class: "group", open, "data-group": name }, h("summary", {}, t(name)), content);
}

function reset(state, changed, draw) {
  for (const [name, value] of Object.entries(state)) {
    if (name !== "lang" && name !== "theme") state[name] = Array.isArray(value) ? [] : (DEFAULTS[name] ?? "");
  }
  draw();
  changed();
}

function searchField(state, set) {
  const suggestions = h("datalist", { id: "suggestions" });
  const suggest = debounced(async (text) => {
    const found = text.trim() && (await get(`complete?text=${encodeURIComponent(text)}&gateway=${encodeURIComponent(state.gateway)}`));
    replace(suggestions, (found.texts ?? []).map((value) => h("option", { value })));
  });
  const typed = (event) => {
    set("q", event.target.value);
    suggest(event.target.value);
  };
  const input = h("input", { type: "search", id: "search", maxlength: 1000, autocomplete: "off", list: "suggestions", props: { value: state.q }, oninput: typed });
  const keep = h("input", { type: "checkbox", id: "keep", props: { checked: state.keep === "1" }, onchange: (event) => set("keep", event.target.checked ? "1" : "") });
  return [field(t("search"), input, t("search_hint")), suggestions, h("label", { class: "flag" }, keep, h("span", {}, t("keep_query")))];
}

function filterFields(state, set) {
  const text = (name) =>
    field(t(name), h("input", { type: "text", id: name, props: { value: state[name] }, oninput: (event) => set(name, event.target.value) }), t("several"));
  const price = (name) =>
    field(t(name), h("input", { type: "number", id: name, min: 0, step: "any", props: { value: state[name] }, oninput: (event) => set(name, event.target.value) }));
  return h("div", {}, text("brand"), text("category"), h("div", { class: "pair" }, price("min_price"), price("max_price")));
}

function ruleFields(state, set, draw) {
  const limit = h("input", { type: "number", id: "n", min: 1, max: 100, props: { value: state.n }, oninput: (event) => set("n", event.target.value || DEFAULTS.n) });
  return h("div", {}, field(t("limit"), limit), RULES.map((rule) => ruleField(rule, state, set)), blockedList(state, set, draw));
}

function ruleField(rule, state, set) {
  const id = rule.param;
  if (rule.kind === "flag") {
    const box = h("input", { type: "checkbox", id, props: { checked: state[id] === "1" }, onchange: (event) => set(id, event.target.checked ? "1" : "") });
    return h("label", { class: "flag" }, box, h("span", {}, t(rule.name)));
  }
  const bounds = rule.kind === "share" ? { min: 0, max: 1, step: rule.step } : { min: 1, step: 1 };
  const number = h("input", { type: "number", id, ...bounds, placeholder: t("server_default"), props: { value: state[id] } });
  if (rule.kind === "count") {
    number.addEventListener("input", () => set(id, number.value));
    return field(t(rule.name), number);
  }
  const slider = h("input", { type: "range", id: `${id}-slider`, min: 0, max: 1, step: rule.step, "aria-label": t(rule.name), props: { value: state[id] || "0" } });
  number.addEventListener("input", () => {
    slider.value = number.value || "0";
    set(id, number.value);
  });
  slider.addEventListener("input", () => {
    number.value = slider.value;
    set(id, slider.value);
  });
  return h("div", { class: "share" }, field(t(rule.name), number), slider);
}

function blockedList(state, set, draw) {
  const allow = (item) => {
    state.block = state.block.filter((one) => one !== item);
    draw();
    set("block", state.block);
  };
  const items = state.block.map((item) =>
    h("li", {}, item, h("button", { type: "button", class: "small", "aria-label": t("unblock", { item }), onclick: () => allow(item) }, "×")),
  );
  return h("div", { id: "blocked" }, h("h3", {}, t("blocked")), items.length ? h("ul", { class: "chips" }, items) : h("p", { class: "hint" }, t("blocked_none")));
}

function compareFields(state, config, set, draw) {
  const select = (id, label, values, words) =>
    field(label, h("select", { id, onchange: (event) => set(id, event.target.value) }, values.map((value) => h("option", { value, props: { selected: value === state[id] } }, words(value)))));
  const gateways = ["", ...config.gateways.slice(1)];
  const name = (value) => value || config.gateways[0];
  const kinds = LEFT.filter((kind) => (kind !== "same" || config.gateways.length > 1) && (kind !== "pinned" || state.pinned));
  const pin = () => {
    state.pinned = pinOf(state);
    state.left = "pinned";
    draw();
    set("left", "pinned");
  };
  return h(
    "div",
    {},
    select("left", t("compare"), kinds, (value) => t(`left_${value}`)),
    config.gateways.length > 1 && select("gateway", t("gateway"), gateways, name),
    config.gateways.length > 1 && select("left_gateway", t("left_gateway"), ["", ...config.gateways], (value) => value || "="),
    h("button", { type: "button", id: "pin", onclick: pin }, t("pin")),
  );
}
