// The user: one of the shop's, a recorded one, or one made of items.

import { get, post } from "./api.js";
import { debounced, field, h, replace } from "./dom.js";
import { count, t } from "./text.js";

// Titles of items seen so far; ids alone are in the address.
const titles = new Map();

/** Remember the titles of items. */
export function rememberTitles(items) {
  for (const item of items) if (item.title) titles.set(item.item_id, item.title);
}

// Adds an item to the history of the controls that are shown.
let adding = () => {};

/** Add an item to the history. */
export function addToHistory(item) {
  rememberTitles([item]);
  adding(item.item_id);
}

/** Return the history of one of the shop's users; null if there is none of this id. */
export async function historyOf(userId) {
  const found = await get(`users?search=${encodeURIComponent(userId)}`);
  return found.users?.find((user) => user.user_id === userId)?.history ?? null;
}

const titleOf = (item) => titles.get(item) ?? item;

/** Return the controls of the user. */
export function historyPicker(state, config, set) {
  const list = h("div", { id: "history" });
  const draw = () => drawHistory(list, state, change);
  function change(items, who = "") {
    state.h = items;
    state.who = who;
    draw();
    set("h", items);
  }
  draw();
  fetchTitles(state.h).then(draw);
  const user = h("input", { type: "text", id: "user", maxlength: 256, autocomplete: "off", props: { value: state.user }, oninput: (event) => set("user", event.target.value) });
  adding = (item) => change([...state.h, item]);
  return h("div", {}, userList(config, change), list, itemSearch(state, change), field(t("user_id"), user, t("user_id_hint")));
}

async function fetchTitles(items) {
  const unknown = items.filter((item) => !titles.has(item)).slice(-500);
  if (!unknown.length) return;
  const found = await post("items", { item_ids: [...new Set(unknown)] });
  rememberTitles(found.items ?? []);
}

function drawHistory(list, state, change) {
  const rows = state.h.map((item, index) =>
    h(
      "li",
      {},
      titleOf(item),
      h("button", { type: "button", class: "small", "aria-label": t("remove", { title: titleOf(item) }), onclick: () => change(state.h.filter((_, at) => at !== index)) }, "×"),
    ),
  );
  replace(
    list,
    h("h3", {}, t("history"), state.who && ` · ${state.who}`, ` (${count(state.h.length)})`),
    rows.length ? h("ol", { class: "chips scroll", tabindex: 0, "aria-label": t("history") }, rows) : h("p", { class: "hint" }, t("history_empty")),
    rows.length > 0 && h("button", { type: "button", id: "clear-history", onclick: () => change([]) }, t("history_clear")),
  );
}

function userList(config, change) {
  if (!config.users) return h("p", { class: "hint" }, t("no_users"));
  const list = h("ul", { class: "found", id: "users" });
  async function find(text) {
    const found = await get(`users?search=${encodeURIComponent(text)}`);
    const choose = async (user) => {
      await fetchTitles(user.history);
      change([...user.history], user.user_id);
    };
    replace(
      list,
      (found.users ?? []).map((user) =>
        h("li", {}, h("button", { type: "button", class: "pick", onclick: () => choose(user) }, `${user.user_id} – ${t("user_items", { count: count(user.history.length) })}`)),
      ),
    );
  }
  find("");
  const input = h("input", { type: "search", id: "find-user", oninput: debounced((event) => find(event.target.value)) });
  return h("div", {}, field(t("user_find"), input, t("user_list_hint", { count: count(config.users) })), list);
}

function itemSearch(state, change) {
  const list = h("ul", { class: "found", id: "found-items" });
  const find = debounced(async (event) => {
    const query = event.target.value.trim();
    if (!query) return replace(list);
    const found = await post("items", { query, gateway: state.gateway });
    rememberTitles(found.items ?? []);
    const rows = (found.items ?? []).map((item) =>
      h("li", {}, h("button", { type: "button", class: "pick", "aria-label": t("add", { title: item.title }), onclick: () => change([...state.h, item.item_id]) }, "+ ", item.title, item.brand && ` (${item.brand})`)),
    );
    return replace(list, rows.length ? rows : h("li", { class: "hint" }, t("found_nothing")));
  });
  return h("div", {}, field(t("history_add"), h("input", { type: "search", id: "find-item", autocomplete: "off", oninput: find }), t("history_add_hint")), list);
}
