// Failures and degradations in plain words, with what to do.

import { h } from "./dom.js";
import { known, t } from "./text.js";

/** Return a failed call as a box. */
export function failureBox(failure, retry = null) {
  const kind = known(`failure_${failure.kind}`) ? failure.kind : "internal";
  return h(
    "div",
    { class: "box failure", role: "alert" },
    h("h3", {}, t(`failure_${kind}`)),
    h("p", {}, t(`remedy_${kind}`)),
    failure.details && h("p", { class: "details" }, failure.code ? `${failure.code}: ${failure.details}` : failure.details),
    failure.request_id && h("p", { class: "hint" }, t("request_id", { id: failure.request_id })),
    retry && h("button", { type: "button", onclick: retry }, t("try_again")),
  );
}

/** Return the degradations of an answer; null if there are none. */
export function degradationBox(degradations) {
  if (!degradations?.length) return null;
  return h(
    "div",
    { class: "box degraded" },
    h("h3", {}, t("degraded")),
    h(
      "ul",
      {},
      degradations.map(({ kind, detail }) =>
        h("li", {}, known(`degraded_${kind}`) ? t(`degraded_${kind}`) : kind, detail && h("span", { class: "details" }, ` ${detail}`)),
      ),
    ),
  );
}
