// Who answers: chips for roles and ensembles, a list for plain models.
import { byId, el, forTab, keep, kept } from "./dom.js";
import { look, needsKey } from "./session.js";
import { language, onLanguage, say } from "./words.js";

const KEY = "ansambl.target";
const COLOURS = 4;

export class Picker {
  constructor() {
    this.targets = [];
    this.chosen = kept(forTab, KEY);
    this.listeners = [];
    byId("plain-model").addEventListener("change", (event) => {
      if (event.target.value) this.choose(event.target.value);
    });
    onLanguage(() => { this.draw(); this.load(); });
  }

  onChange(listener) { this.listeners.push(listener); }

  /** Read GET /v1/models; false when it cannot be read. */
  async load() {
    if (needsKey()) return false;
    try {
      const answer = look(await fetch("/v1/models", { headers: { "accept-language": language() } }));
      const found = (await answer.json()).data;
      if (!answer.ok || !Array.isArray(found)) return false;
      const targets = found.filter((one) => typeof one?.id === "string");
      if (JSON.stringify(targets) === JSON.stringify(this.targets)) return true;
      this.targets = targets;
      this.draw();
      return true;
    } catch {
      return false;
    }
  }

  /** The chosen role, ensemble or model; undefined while none is known. */
  get current() {
    return this.find(this.chosen) ?? this.targets[0];
  }

  find(id) { return this.targets.find((one) => one.id === id); }

  choose(id) {
    this.chosen = id;
    keep(forTab, KEY, id);
    this.mark();
  }

  /** The name to show: an alias in Cyrillic letters where the page speaks Russian and there is one. */
  label(id) {
    const alias = language() === "ru" && this.find(id)?.aliases?.find((one) => /^[а-яё]/i.test(one));
    return alias || id;
  }

  /** The mark that goes with a name: a colour for a role, four dots for an ensemble, a square for a model. */
  badge(id, kind) {
    const known = this.find(id)?.kind ?? kind;
    const place = this.targets.filter((one) => one.kind === "role").findIndex((one) => one.id === id);
    const badge = el("span", { className: `badge ${known}` });
    if (known === "role") badge.style.background = `var(--v${(Math.max(place, 0) % COLOURS) + 1})`;
    return badge;
  }

  draw() {
    const focused = byId("chips").contains(document.activeElement);
    const chips = this.targets.filter((one) => one.kind !== "model").map((one) => this.chip(one));
    byId("chips").replaceChildren(...chips);
    const models = this.targets.filter((one) => one.kind === "model");
    const select = byId("plain-model");
    select.hidden = models.length === 0;
    select.replaceChildren(
      ...(chips.length ? [el("option", { value: "" }, say("models_none"))] : []),
      ...models.map((one) => el("option", { value: one.id }, one.id)),
    );
    this.mark();
    if (focused) byId("chips").querySelector("input:checked")?.focus();
  }

  chip(target) {
    const radio = el("input", { type: "radio", name: "target", value: target.id, on: { change: () => this.choose(target.id) } });
    return el("label", { className: "chip", title: target.description ?? "" },
      radio, this.badge(target.id, target.kind), el("span", {}, this.label(target.id)));
  }

  mark() {
    const current = this.current;
    for (const radio of byId("chips").querySelectorAll("input")) radio.checked = radio.value === current?.id;
    const select = byId("plain-model");
    select.value = current?.kind === "model" ? current.id : "";
    select.classList.toggle("chosen", current?.kind === "model");
    byId("about").textContent = current?.description ?? "";
    for (const listener of this.listeners) listener();
  }
}
