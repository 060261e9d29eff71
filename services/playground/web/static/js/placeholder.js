// A picture for an item, as answers carry none: the first letters of the title on a colour of the category.

import { svg } from "./dom.js";

const COLOURS = 8;

function colourOf(text) {
  let hash = 7;
  for (const character of text) hash = (hash * 31 + character.codePointAt(0)) % 9973;
  return hash % COLOURS;
}

function initials(title) {
  const words = title.split(/\s+/u).filter(Boolean);
  const letters = words.length > 1 ? words.slice(0, 2).map((word) => [...word][0]) : [...(words[0] ?? "?")].slice(0, 2);
  return letters.join("").toUpperCase();
}

/** Return the picture; it says nothing that the card does not say, so screen readers pass it over. */
export function placeholder(item) {
  return svg(
    "svg",
    { class: `picture colour-${colourOf(item.category || item.brand || item.title)}`, viewBox: "0 0 64 64", "aria-hidden": "true" },
    svg("rect", { width: 64, height: 64, rx: 8 }),
    svg("text", { x: 32, y: 41, "text-anchor": "middle" }, initials(item.title || item.item_id)),
  );
}
