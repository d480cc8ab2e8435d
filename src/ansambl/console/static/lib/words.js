// The page's sentences, numbers and times in its language. The server does the same in `console/formatting.py`.
import { byId } from "./dom.js";

const words = JSON.parse(byId("words").textContent);

export const language = () => words.language;

/** The sentence `key` with its gaps filled. */
export function say(key, values = {}) {
  const template = words.strings[key] ?? key;
  return template.replace(/\{(\w+)\}/g, (gap, name) => (name in values ? String(values[name]) : gap));
}

export const has = (key) => Object.hasOwn(words.strings, key);

export const number = (value, digits = 0) =>
  new Intl.NumberFormat(words.language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);

export const seconds = (value) => number(value, value < 10 ? 2 : 1);

export function size(bytes) {
  if (bytes >= 2 ** 30) return say("gib", { amount: number(bytes / 2 ** 30, 1) });
  if (bytes >= 2 ** 20) return say("mib", { amount: number(bytes / 2 ** 20) });
  return say("kib", { amount: number(bytes / 2 ** 10, bytes < 10 * 2 ** 10 ? 1 : 0) });
}

/** A time of today as a time, an older one with its date. `epoch` is in seconds. */
export function clock(epoch) {
  const when = new Date(epoch * 1000);
  const today = new Date().toDateString() === when.toDateString();
  const parts = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  return new Intl.DateTimeFormat(words.language, today ? parts : { day: "numeric", month: "short", ...parts }).format(when);
}
