// The state of the servers; those that the playground started can be stopped.

import { get, hasToken, post } from "./api.js";
import { announce, h, replace } from "./dom.js";
import { failureBox } from "./failures.js";
import { table } from "./table.js";
import { count, decimal, known, ms, t } from "./text.js";

const PAUSE_MS = 2_000;

/** Show the page of the servers, and read it again until it is left. */
export function showServers(place) {
  const list = h("div", { class: "servers" });
  const message = h("div", {});
  replace(place, h("h2", {}, t("page_servers")), h("p", { class: "hint" }, t("servers_intro")), message, list);
  const opened = new Set();
  async function refresh() {
    if (!list.isConnected) return;
    const found = await get("servers");
    if (!list.isConnected) return;
    // Whoever is at a control of the list stays there.
    const focused = list.contains(document.activeElement) ? document.activeElement.id : "";
    replace(list, found.failure ? failureBox(found.failure) : [!found.local && h("p", { class: "hint" }, t("server_remote")), found.servers.map((server) => one(server, found.local, change, opened))]);
    if (focused) document.getElementById(focused)?.focus();
  }
  async function change(server, running) {
    const found = await post("servers", { server, running });
    replace(message, found.failure && failureBox(found.failure));
    await refresh();
  }
  async function repeat() {
    await refresh();
    if (list.isConnected) setTimeout(repeat, PAUSE_MS);
  }
  repeat();
}

function one(server, local, change, opened) {
  const state = local && !server.running ? "server_stopped" : `server_${server.health}`;
  const serving = server.health === "serving";
  return h(
    "section",
    { class: `box server ${serving ? "serving" : "down"}`, "data-server": server.name, "aria-label": server.name },
    h("h3", {}, server.name),
    h("p", {}, h("strong", { class: "health" }, known(state) ? t(state) : server.health), ` · ${server.target || "–"}`, server.release && ` · ${t("server_serves", { release: server.release.release.release_id })}`),
    local && hasToken() && button(server, change),
    server.release && models(server.release.release.models),
    figures(server, opened),
  );
}

function button(server, change) {
  const label = t(server.running ? "server_stop" : "server_start", { name: server.name });
  const act = (event) => {
    event.target.disabled = true;
    announce(label);
    change(server.name, !server.running);
  };
  return h("button", { type: "button", id: `switch-${server.name}`, onclick: act }, label);
}

function models(list) {
  return h("ul", { class: "badges" }, list.map((model) => h("li", { class: "badge" }, `${model.name} ${model.precision} ${model.execution_provider}`)));
}

function figures(server, opened) {
  if (!server.figures) return h("p", { class: "hint" }, t("server_no_figures"));
  const shown = (value) => (value === null ? "–" : ms(value));
  const rows = server.figures.methods.map((row) => [row.method, count(row.calls), count(row.errors), shown(row.p50_ms), shown(row.p99_ms)]);
  const gauges = Object.entries(server.figures.gauges).map(([name, value]) => [name, decimal(value)]);
  const more = h("details", { open: opened.has(server.name) }, h("summary", { id: `gauges-${server.name}` }, t("server_gauges")), table(`${t("server_gauges")}: ${server.name}`, [t("name"), t("value")], gauges));
  more.addEventListener("toggle", () => (more.open ? opened.add(server.name) : opened.delete(server.name)));
  return [table(`${server.name}: ${t("server_method")}`, [t("server_method"), t("server_calls"), t("server_errors"), "≤ p50", "≤ p99"], rows), more];
}
