// Starts the page: its head, and the part that its path names.

import { get, hasToken, setToken, takeToken } from "./api.js";
import { controls } from "./controls.js";
import { h, replace } from "./dom.js";
import { failureBox } from "./failures.js";
import { historyOf } from "./history-picker.js";
import { showMany } from "./many.js";
import { showRelease } from "./release.js";
import { showResults } from "./results.js";
import { showServers } from "./servers.js";
import { queryOf, readState, writeState } from "./state.js";
import { LANGUAGES, currentLanguage, setLanguage, t } from "./text.js";

const PAGES = { "/": "page_ask", "/many": "page_many", "/release": "page_release", "/servers": "page_servers" };
const THEMES = ["", "light", "dark"];
const state = readState();
let config = { gateways: [""], users: 0, votes: false, local: false };

async function start() {
  takeToken();
  await draw();
}

/** Draw everything again, in the language and the colours of the state. */
async function draw() {
  setLanguage(state.lang);
  document.documentElement.dataset.theme = state.theme;
  document.getElementById("skip").textContent = t("skip");
  document.title = `${t(PAGES[location.pathname])} · ${t("title")}`;
  const found = await get("config");
  if (found.failure) return replace(document.getElementById("main"), failureBox(found.failure, draw));
  config = found;
  if (state.who && !state.h.length) state.h = (await historyOf(state.who)) ?? [];
  drawHead();
  return drawPage();
}

function drawHead() {
  const links = Object.entries(PAGES).map(([path, name]) =>
    h("a", { href: path + queryOf(state), "aria-current": path === location.pathname ? "page" : null, onclick: (event) => (event.currentTarget.href = path + queryOf(state)) }, t(name)),
  );
  const choice = (id, label, values, chosen, words) =>
    h("label", { class: "choice" }, h("span", {}, label), h("select", { id, onchange: (event) => choose(id, event.target.value) }, values.map((value) => h("option", { value, props: { selected: value === chosen } }, words(value)))));
  replace(
    document.getElementById("top"),
    h("h1", {}, t("title")),
    h("nav", { "aria-label": t("title") }, links),
    h("div", { class: "row" }, choice("lang", t("language"), Object.keys(LANGUAGES), currentLanguage(), (value) => LANGUAGES[value]), choice("theme", t("theme"), THEMES, state.theme, (value) => t(`theme_${value || "auto"}`)), adminBox()),
  );
}

function choose(name, value) {
  state[name] = value;
  writeState(state);
  draw().then(() => document.getElementById(name).focus());
}

function adminBox() {
  if (!config.admin_is_possible) return h("span", { class: "badge" }, t("read_only"));
  const use = (token) => {
    setToken(token);
    draw();
  };
  if (config.is_admin) return h("button", { type: "button", id: "forget-token", onclick: () => use("") }, `${t("admin")} · ${t("admin_end")}`);
  const input = h("input", { type: "password", id: "token", autocomplete: "off" });
  const wrong = hasToken() && h("p", { role: "alert" }, t("token_wrong"));
  if (wrong) setToken("");
  const submit = (event) => {
    event.preventDefault();
    use(input.value.trim());
  };
  return h(
    "details",
    { class: "admin", open: Boolean(wrong) },
    h("summary", { title: t("read_only_hint") }, t("read_only")),
    h("form", { class: "row", onsubmit: submit }, h("label", { class: "choice" }, h("span", {}, t("token")), input), h("button", { type: "submit", id: "use-token" }, t("token_use"))),
    wrong,
  );
}

function drawPage() {
  const main = document.getElementById("main");
  const place = h("div", { class: "page" });
  const show = { "/": drawAsk, "/many": showMany, "/release": showRelease, "/servers": showServers }[location.pathname];
  replace(main, place);
  return show(place, { state, config });
}

function drawAsk(place) {
  const results = h("div", { id: "results" });
  const ask = () => {
    writeState(state);
    return showResults(results, { state, config, block, keepQuery });
  };
  const { form, draw: drawControls } = controls(state, config, ask);
  function block(item) {
    state.block = [...new Set([...state.block, item])];
    drawControls();
    ask();
  }
  function keepQuery() {
    state.keep = "1";
    drawControls();
    ask();
  }
  replace(place, h("div", { class: "ask" }, h("aside", { "aria-label": t("rules") }, form), results));
  return ask();
}

start();
