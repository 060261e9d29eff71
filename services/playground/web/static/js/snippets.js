// The request as code, to copy.

import { announce, h } from "./dom.js";
import { t } from "./text.js";

const LANGUAGES = { python: "Python", node: "Node", grpcurl: "grpcurl" };

/** Return the code of a request, one language after the other behind buttons. */
export function snippetBox(codes) {
  const shown = h("pre", { tabindex: 0, "aria-label": t("code") }, h("code", {}));
  const copied = h("span", { class: "hint", role: "status" });
  let language = "python";
  const buttons = Object.entries(LANGUAGES).map(([name, label]) =>
    h("button", { type: "button", "aria-pressed": name === language, "data-language": name, onclick: () => show(name) }, label),
  );
  function show(name) {
    language = name;
    shown.firstChild.textContent = codes[name];
    copied.textContent = "";
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.language === name));
  }
  async function copy() {
    try {
      await navigator.clipboard.writeText(codes[language]);
      copied.textContent = t("copied");
    } catch {
      getSelection().selectAllChildren(shown);
      copied.textContent = t("selected");
    }
    announce(copied.textContent);
  }
  show(language);
  return h(
    "details",
    { class: "box snippets" },
    h("summary", {}, t("as_code")),
    h("div", { class: "row" }, buttons, h("button", { type: "button", class: "copy", onclick: copy }, t("copy")), copied),
    shown,
  );
}
