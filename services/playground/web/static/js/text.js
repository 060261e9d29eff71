// The words of the page in each language.

import { english } from "./text-en.js";
import { chinese } from "./text-zh.js";

export const LANGUAGES = { en: "English", zh: "中文" };
const WORDS = { en: english, zh: chinese };
let language = "en";

/** Choose the language: the one asked for, else the browser's, else English. */
export function setLanguage(asked) {
  const wanted = asked || navigator.language.slice(0, 2);
  language = wanted in WORDS ? wanted : "en";
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
}

export const currentLanguage = () => language;

export const known = (name) => name in english;

/** Return the words of a name; `{name}` in them are filled in. */
export function t(name, values = {}) {
  const words = WORDS[language][name] ?? english[name] ?? name;
  return words.replace(/\{(\w+)\}/g, (whole, key) => (key in values ? String(values[key]) : whole));
}

const format = (value, options) => new Intl.NumberFormat(language, options).format(value);

export const ms = (value) => `${format(value, { maximumFractionDigits: 1, minimumFractionDigits: 1 })} ms`;
export const percent = (value) => format(value, { style: "percent", maximumFractionDigits: 1 });
export const decimal = (value, digits = 3) => format(value, { maximumFractionDigits: digits });
export const money = (value) => format(value, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
export const count = (value) => format(Number(value));
export const time = (text) => new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(text));
