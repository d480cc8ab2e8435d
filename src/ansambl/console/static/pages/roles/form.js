// The form: what stands in it, what of that differs from what is shipped, and where an error belongs.
import { byId } from "../../lib/dom.js";
import { say } from "../../lib/words.js";
import { collections, fill, languages, lines, members, rules, tools } from "./controls.js";

/** What says of a key that nothing is meant, where something is shipped. Other keys cannot be taken back, only replaced. */
const NOTHING = { description: "", instruction: "", lora: "", aliases: [], stop: [], examples: [], collections: [], rules: [] };

const sorted = (value) => (value && typeof value === "object" && !Array.isArray(value)
  ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, value[key]])) : value);

/** Whether two values of a key are the same. */
export const same = (a, b) => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));

/** What is in effect where `own` is set over `shipped`. An instruction of one's own puts aside those in other languages. */
export function effective(shipped, own) {
  const found = { ...shipped, ...own };
  if ("instruction" in own && !("instructions" in own)) delete found.instructions;
  else if ("instructions" in own && !("instruction" in own)) found.instructions = { ...shipped.instructions, ...own.instructions };
  return found;
}

/** The form of the page. `changed` is called after every change by hand. */
export class Form {
  constructor(kind, shipped, options, changed) {
    this.shipped = shipped;
    this.options = options;
    this.controls = {};
    for (const box of document.querySelectorAll("[data-control]")) {
      this.controls[box.dataset.key] = this.#control(box, kind, changed);
    }
    for (const name of ["input", "change"]) byId("form").addEventListener(name, changed);
  }

  #control(box, kind, changed) {
    const { key, control } = box.dataset;
    const built = box.querySelector(".built");
    const { options } = this;
    const others = [...options.roles, ...options.ensembles];
    const whoMay = () => this.controls.roles?.read() ?? [];
    const made = {
      languages: () => languages(built, changed),
      collections: () => collections(built, changed, options.collections),
      tools: () => tools(built, changed),
      members: () => members(built, changed, others),
      rules: () => rules(built, changed, whoMay),
    }[control]?.();
    if (made) return { ...made, box };
    const input = byId(`f-${key}`);
    const text = { write: (value) => { input.value = value ?? ""; }, read: () => input.value.trim() || undefined };
    const chosen = (values, empty) => ({ write: (value) => fill(input, values(), value, empty), read: text.read });
    const number = {
      write: (value) => { input.value = value ?? ""; },
      // What is no number goes to the server as it is written: it says what is wrong, and nothing is lost.
      read: () => (input.validity.badInput ? "?" : input.value === "" ? undefined : Number(input.value)),
    };
    return {
      box,
      ...({
        long: () => ({ ...text, read: () => (input.value.trim() ? input.value : undefined) }),
        lines: () => ({
          write: (value) => { input.value = (value ?? []).join("\n"); },
          read: () => { const found = lines(input.value); return found.length ? found : undefined; },
        }),
        flag: () => ({
          write: (value) => { input.value = value === undefined ? "" : String(value); },
          read: () => (input.value === "" ? undefined : input.value === "true"),
        }),
        number: () => number,
        whole: () => number,
        slider: () => this.#slider(input, byId(`r-${key}`), number, changed),
        duration: () => ({
          write: text.write,
          read: () => { const found = text.read(); return found === undefined || !/^\d+(\.\d+)?$/.test(found) ? found : Number(found); },
        }),
        model: () => chosen(() => options.models,
          key === "model" ? say("model_default", { model: options.default_model ?? say("no_model") }) : say("no_model")),
        lora: () => chosen(() => Object.keys(options.loras), say("none_lora")),
        conductor: () => chosen(() => options.roles, say("first_member")),
        member: () => ({
          ...chosen(whoMay, say("first_member")),
          listen: input.addEventListener("focus", () => fill(input, whoMay(), input.value, say("first_member"))),
        }),
      }[control]?.() ?? text),
    };
  }

  #slider(input, range, number, changed) {
    const follow = () => {
      range.classList.toggle("unset", input.value === "");
      range.value = input.value === "" ? (Number(range.min) + Number(range.max)) / 2 : input.value;
    };
    range.addEventListener("input", () => { input.value = range.value; follow(); changed(); });
    input.addEventListener("input", follow);
    return { ...number, write: (value) => { number.write(value); follow(); } };
  }

  /** Show what is in effect where `own` is set. */
  write(own) {
    const fields = effective(this.shipped, own);
    // A choice among the members needs them first.
    for (const key of Object.keys(this.controls).sort((a, b) => (b === "roles") - (a === "roles"))) {
      this.controls[key].write(fields[key]);
    }
    for (const group of document.querySelectorAll("details.group")) {
      group.open ||= [...group.querySelectorAll("[data-key]")].some((box) => box.dataset.key in own);
    }
    this.mark();
  }

  /** What of the form differs from what is shipped, as the admin API keeps it. */
  own() {
    const found = {};
    const read = {};
    for (const [key, control] of Object.entries(this.controls)) {
      const value = (read[key] = control.read());
      if (value === undefined) {
        const has = this.shipped[key] !== undefined && !same(this.shipped[key], NOTHING[key]);
        if (has && key in NOTHING) found[key] = NOTHING[key];
      } else if (!same(value, this.shipped[key])) found[key] = value;
    }
    // Of the instructions one alone would put aside, or leave standing, what is shipped in other languages.
    const both = [read.instructions, this.shipped.instructions];
    if ("instruction" in found && read.instructions) found.instructions = read.instructions;
    else if (!same(...both) && !("instruction" in found) && "instructions" in this.controls) {
      const taken = Object.keys(this.shipped.instructions ?? {}).some((code) => !(code in (read.instructions ?? {})));
      if (taken) found.instruction = read.instruction ?? "";
    }
    return found;
  }

  /** Say of each key what is shipped, where something else stands there. */
  mark() {
    const own = this.own();
    for (const [key, { box }] of Object.entries(this.controls)) {
      const note = box.querySelector(".shipped");
      note.hidden = !(key in own) || this.shipped[key] === undefined;
      note.textContent = note.hidden ? "" : say("shipped_value", { value: brief(shown(this.shipped[key])) });
    }
  }

  /** Take all errors away. */
  clear() {
    for (const one of document.querySelectorAll(".field > .problem")) one.textContent = "";
    for (const one of document.querySelectorAll("[aria-invalid]")) one.removeAttribute("aria-invalid");
  }

  /** Say what is wrong beside the field that `param` names, and go there. False where there is no such field. */
  complain(param, message) {
    const key = /^[a-z_]+/.exec(param ?? "")?.[0];
    const place = key && byId(`e-${key}`);
    if (!place) return false;
    place.textContent = message;
    const closed = place.closest("details");
    if (closed) closed.open = true;
    const control = byId(`f-${key}`);
    if (control.tagName !== "FIELDSET") control.setAttribute("aria-invalid", "true");
    control.focus();
    return true;
  }
}

const LONGEST = 300;
const brief = (words) => (words.length > LONGEST ? `${words.slice(0, LONGEST)}…` : words);

/** A value for readers. */
export function shown(value) {
  if (value === undefined || value === null || value === "" || (Array.isArray(value) && !value.length)) return say("no_value");
  if (Array.isArray(value)) return value.map((one) => (typeof one === "object" ? JSON.stringify(one) : one)).join("\n");
  if (typeof value === "object") return Object.entries(value).map(([key, one]) => `${key}: ${one}`).join("\n");
  return String(value);
}

/** The name of a key as the form says it. */
export const nameOf = (key) =>
  document.querySelector(`[data-key="${CSS.escape(key)}"] :is(legend, label)`)?.textContent ?? key;
