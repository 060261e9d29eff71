// What is known of the release that a gateway serves.

import { get } from "./api.js";
import { h, replace } from "./dom.js";
import { failureBox } from "./failures.js";
import { table } from "./table.js";
import { count, decimal, t, time } from "./text.js";

const DAY_MS = 86_400_000;

/** Show the page of the release. */
export async function showRelease(place, { state }) {
  replace(place, h("p", {}, t("waiting")));
  const found = await get(`release?gateway=${encodeURIComponent(state.gateway)}`);
  if (found.failure) return replace(place, h("h2", {}, t("page_release")), failureBox(found.failure, () => showRelease(place, { state })));
  const { release, files } = found;
  return replace(
    place,
    h("h2", {}, t("page_release")),
    facts(found),
    models(release.models),
    files ? [learned(files.learned_until), figures(files.metrics), card(files.model_card)] : h("p", { class: "box" }, t("release_none")),
  );
}

function facts({ release, previous_release_id: previous, refused_release_id: refused, refusal, files }) {
  const age = (Date.now() - Date.parse(release.created_at)) / DAY_MS;
  const rows = [
    ["release_id", release.release_id],
    ["release_built", time(release.created_at)],
    ["release_age", t("release_days", { days: decimal(age, 1) })],
    ["release_data", release.data_source],
    ["release_licence", files?.data.licence],
    ["release_items", count(release.items)],
    ["release_events", files && count(files.data.events)],
    ["release_index", release.index_type],
    ["release_sources", release.sources.join(", ")],
    ["release_location", release.location],
    ["release_previous", previous],
    ["release_refused", refused && `${refused}: ${refusal}`],
  ];
  return h("dl", { class: "facts", id: "facts" }, rows.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, t(name)), h("dd", {}, value))));
}

function models(list) {
  const heading = ["name", "release_precision", "release_provider", "release_base"].map((name) => t(name));
  return table(t("release_models"), heading, list.map((model) => [model.name, model.precision, model.execution_provider, model.base_model]));
}

function learned(until) {
  const rows = Object.entries(until);
  return rows.length > 0 && table(t("release_learned"), [t("name"), t("value")], rows);
}

function figures(metrics) {
  const shown = (value) => (typeof value === "number" ? decimal(value, 4) : String(value));
  return h(
    "section",
    { "aria-label": t("release_figures") },
    h("h3", {}, t("release_figures")),
    metrics
      .filter(({ rows }) => rows.length)
      .map(({ name, rows }) =>
        h("details", { class: "box", open: name === "validation" }, h("summary", {}, name), table(name, [t("name"), t("value")], rows.map(([path, value]) => [path || name, shown(value)]))),
      ),
  );
}

function card(text) {
  return text && h("details", { class: "box" }, h("summary", {}, t("release_card")), h("pre", { tabindex: 0, class: "wrapped", "aria-label": t("release_card") }, text));
}
