// The page's sentences, numbers and times in the chosen language.
import { byId, forBrowser, keep } from "./dom.js";

let words = JSON.parse(byId("words").textContent);
const listeners = [];

export const language = () => words.language;
export const examples = () => words.examples;

/** The sentence `key` with its gaps filled. */
export function say(key, values = {}) {
  const template = words.strings[key] ?? key;
  return template.replace(/\{(\w+)\}/g, (gap, name) => (name in values ? String(values[name]) : gap));
}

export const has = (key) => key in words.strings;

export const number = (value, digits = 0) =>
  new Intl.NumberFormat(words.language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);

export const seconds = (value) => number(value, value < 10 ? 2 : 1);

export function size(bytes) {
  const gib = bytes / 2 ** 30;
  return gib >= 1
    ? say("gib", { amount: number(gib, 1) })
    : say("mib", { amount: number(bytes / 2 ** 20) });
}

/** A time of today as a time, an older one with its date. `epoch` is in seconds. */
export function clock(epoch) {
  const when = new Date(epoch * 1000);
  const today = new Date().toDateString() === when.toDateString();
  const parts = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  return new Intl.DateTimeFormat(words.language, today ? parts : { day: "numeric", month: "short", ...parts }).format(when);
}

/** Call `listener` after every change of the language. */
export const onLanguage = (listener) => listeners.push(listener);

function apply() {
  document.documentElement.lang = words.language;
  document.title = say("title");
  for (const one of document.querySelectorAll("[data-text]")) one.textContent = say(one.dataset.text);
  for (const one of document.querySelectorAll("[data-label]")) one.setAttribute("aria-label", say(one.dataset.label));
  for (const one of document.querySelectorAll("[data-placeholder]")) one.placeholder = say(one.dataset.placeholder);
  for (const one of document.querySelectorAll("[data-language]")) {
    if (one.dataset.language === words.language) one.setAttribute("aria-current", "true");
    else one.removeAttribute("aria-current");
  }
  for (const listener of listeners) listener();
}

/** Change the language in place: an answer that is still arriving goes on. */
async function change(wanted) {
  const answer = await fetch(`/console/words/${wanted}`);
  if (!answer.ok) throw new Error(String(answer.status));
  words = await answer.json();
  keep(forBrowser, "ansambl.language", words.language);
  const address = new URL(location.href);
  address.searchParams.set("lang", words.language);
  history.replaceState(null, "", address);
  apply();
}

export function startLanguages() {
  if (new URL(location.href).searchParams.has("lang")) keep(forBrowser, "ansambl.language", words.language);
  for (const one of document.querySelectorAll("[data-language]")) {
    one.addEventListener("click", (event) => {
      event.preventDefault();
      change(one.dataset.language).catch(() => location.assign(one.href));
    });
  }
}
