// A table that can be scrolled with the keyboard.

import { h } from "./dom.js";

/** Return a table; cells that are no text are taken as they are. */
export function table(caption, heading, rows) {
  const cell = (value, index) => (index === 0 ? h("th", { scope: "row" }, value) : h("td", {}, value));
  return h(
    "div",
    { class: "table", tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, heading.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell)))),
    ),
  );
}
