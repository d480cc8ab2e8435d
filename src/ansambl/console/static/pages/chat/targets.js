// Who answers: chips for roles and ensembles, a list for plain models; one of them, or up to four side by side.
import { byId, el, forTab, keep, kept } from "../../lib/dom.js";
import { language, number, say } from "../../lib/words.js";

const KEY = "ansambl.chat.who";
const COLOURS = 4;
/** A browser keeps at most six connections to a host, and the page's events take one. */
export const MOST = 4;
/** Milliseconds after which a list that could not be read is read again. */
const AGAIN = 3000;

export class Targets {
  /** `onChange()` is called after every choice and every reading, `needsKey()` where a key is asked for. */
  constructor({ onChange, needsKey }) {
    this.onChange = onChange;
    this.needsKey = needsKey;
    this.all = [];
    this.known = false;
    const before = readKept();
    this.names = before.names;
    this.compares = before.compares;
    byId("compare").checked = this.compares;
    byId("compare").addEventListener("change", (event) => this.#compare(event.target.checked));
    byId("plain-model").addEventListener("change", (event) => {
      const { value } = event.target;
      if (!value) return;
      if (this.compares) this.#toggle(value, true);
      else this.choose([value]);
    });
  }

  /** Read GET /v1/models, and again later where it cannot be read. */
  async load() {
    clearTimeout(this.timer);
    try {
      const answer = await fetch("/v1/models", { headers: { "accept-language": language() } });
      if (answer.status === 401) { this.needsKey(); return; }
      const found = (await answer.json()).data;
      if (!answer.ok || !Array.isArray(found)) throw new Error(String(answer.status));
      const all = found.filter((one) => typeof one?.id === "string" && answers(one));
      this.known = true;
      if (JSON.stringify(all) !== JSON.stringify(this.all)) { this.all = all; this.draw(); }
      this.onChange();
    } catch {
      if (!this.known) byId("about").textContent = say("no_models");
      this.timer = setTimeout(() => this.load(), AGAIN);
    }
  }

  /** Those that the next message goes to. */
  get chosen() {
    const found = this.names.map((name) => this.find(name)).filter(Boolean);
    if (found.length) return this.compares ? found : found.slice(0, 1);
    return this.all.slice(0, 1);
  }

  find(name) { return this.all.find((one) => one.id === name) ?? this.all.find((one) => one.aliases?.includes(name)); }

  /** Choose these names, side by side where there are several. */
  choose(names) {
    this.names = names.slice(0, MOST);
    this.compares = this.names.length > 1;
    this.#keep();
    this.draw();
    this.onChange();
  }

  /** The name to show: an alias in Cyrillic letters where the page speaks Russian and there is one. */
  label(id) {
    const alias = language() === "ru" && this.all.find((one) => one.id === id)?.aliases?.find((one) => /^[а-яё]/i.test(one));
    return alias || id;
  }

  /** The mark that goes with a name: a colour for a role, four dots for an ensemble, a square for a model. */
  badge(id, kind) {
    const known = this.all.find((one) => one.id === id)?.kind ?? kind;
    const place = this.all.filter((one) => one.kind === "role").findIndex((one) => one.id === id);
    const badge = el("span", { className: `badge ${known}` });
    if (known === "role") badge.style.background = `var(--v${(Math.max(place, 0) % COLOURS) + 1})`;
    return badge;
  }

  draw() {
    const focused = byId("chips").contains(document.activeElement) ? document.activeElement.value : null;
    const chosen = this.chosen.map((one) => one.id);
    const asChips = this.all.filter((one) => isVoice(one) || (this.compares && chosen.includes(one.id)));
    byId("chips").replaceChildren(...asChips.map((one) => this.#chip(one, chosen)));
    const models = this.all.filter((one) => !isVoice(one));
    const select = byId("plain-model");
    select.hidden = models.length === 0;
    const empty = this.compares ? "models_add" : "models_none";
    select.replaceChildren(
      ...(asChips.length ? [el("option", { value: "" }, say(empty))] : []),
      ...models.map((one) => el("option", { value: one.id }, one.id)),
    );
    const plain = !this.compares && models.some((one) => one.id === chosen[0]);
    select.value = plain ? chosen[0] : "";
    select.classList.toggle("chosen", plain);
    byId("compare").checked = this.compares;
    byId("about").textContent = this.compares
      ? say("several", { count: number(chosen.length), most: number(MOST) })
      : this.chosen[0]?.description ?? "";
    this.#bringIntoView(chosen[0]);
    if (focused !== null) [...byId("chips").querySelectorAll("input")].find((one) => one.value === focused)?.focus();
  }

  // On a phone the chips are one row that is swiped: who was chosen before may stand outside of it.
  #bringIntoView(name) {
    if (this.inView === name) return;
    const row = byId("who");
    const chip = row.querySelector(":checked:not(#compare)")?.parentElement;
    if (!chip) return;
    this.inView = name;
    row.scrollLeft = chip.offsetLeft - row.offsetLeft - (row.clientWidth - chip.offsetWidth) / 2;
  }

  #chip(target, chosen) {
    const checked = chosen.includes(target.id);
    const full = this.compares && chosen.length >= MOST && !checked;
    const input = el("input", {
      type: this.compares ? "checkbox" : "radio", name: "target", value: target.id, checked, disabled: full,
      on: { change: (event) => (this.compares ? this.#toggle(target.id, event.target.checked) : this.choose([target.id])) },
    });
    return el("label", { className: "chip", title: target.description ?? "" },
      input, this.badge(target.id, target.kind), el("span", {}, this.label(target.id)));
  }

  #toggle(name, wanted) {
    const chosen = this.chosen.map((one) => one.id).filter((one) => one !== name);
    if (wanted && chosen.length < MOST) chosen.push(name);
    // One is always chosen.
    if (chosen.length) this.names = chosen;
    this.#keep();
    this.draw();
    this.onChange();
  }

  #compare(wanted) {
    this.names = this.chosen.map((one) => one.id);
    this.compares = wanted;
    this.#keep();
    this.draw();
    this.onChange();
  }

  #keep() { keep(forTab, KEY, JSON.stringify({ names: this.names, compares: this.compares })); }
}

const isVoice = (target) => target.kind === "role" || target.kind === "ensemble";

/** Whether a name answers chats: models of vectors and rankings do not. */
const answers = ({ capabilities }) =>
  !Array.isArray(capabilities) || capabilities.includes("completion") || !/embedding|rerank/.test(capabilities.join());

function readKept() {
  try {
    const found = JSON.parse(kept(forTab, KEY) ?? "null");
    const names = Array.isArray(found?.names) ? found.names.filter((one) => typeof one === "string").slice(0, MOST) : [];
    return { names, compares: found?.compares === true };
  } catch {
    return { names: [], compares: false };
  }
}
