// The side panel: what the machine does, every 2 s.
import { byId, el } from "./dom.js";
import { look, needsKey } from "./session.js";
import { clock, has, language, number, onLanguage, say, size } from "./words.js";

const PERIOD = 2000;
const PATIENCE = 5000;
const EVENTS = 30;
const STATES = { starting: "busy", restarting: "busy", stopping: "busy", asleep: "stopped" };

export class Machine {
  constructor(picker) {
    this.picker = picker;
    this.state = null;
    this.reachable = true;
    this.forbidden = false;
    this.drawn = new Map();
    this.listeners = [];
    this.timer = null;
    onLanguage(() => { this.drawn.clear(); this.draw(); this.poll(); });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.poll(); });
  }

  onChange(listener) { this.listeners.push(listener); }

  /** Whether roles answer on the embedded model, the demonstration. */
  get isEmbedded() { return this.state?.default_model === "embedded"; }

  /** Ask for the state now, then on while the page is seen. */
  async poll() {
    clearTimeout(this.timer);
    this.asking?.abort();
    if (needsKey()) return;
    const asking = new AbortController();
    this.asking = asking;
    const limit = setTimeout(() => asking.abort(), PATIENCE);
    const before = this.reachable;
    let found = null;
    try {
      const answer = look(await fetch("/admin/api/state", { headers: { "accept-language": language() }, signal: asking.signal }));
      this.forbidden = answer.status === 403;
      if (answer.ok) found = await answer.json();
    } catch { /* found stays null, which says it */ }
    clearTimeout(limit);
    if (this.asking !== asking) return;
    this.reachable = this.forbidden || Array.isArray(found?.instances);
    if (this.reachable) this.state = found;
    this.draw();
    for (const listener of this.listeners) listener({ returned: this.reachable && !before });
    if (!document.hidden) this.timer = setTimeout(() => this.poll(), PERIOD);
  }

  draw() {
    byId("gone").textContent = this.reachable && !this.forbidden ? "" : say(needsKey() ? "no_key" : this.forbidden ? "forbidden" : "gone");
    byId("sections").hidden = this.forbidden;
    byId("state").classList.toggle("stale", !this.reachable);
    byId("overall").className = `dot ${this.reachable ? overall(this.state) : "failed"}`;
    if (!this.state) return;
    byId("panel-toggle").title = this.state.instances.map((one) => `${one.model}: ${wordOf(one)}`).join("\n");
    const { instances, roles = [], ensembles = [], events = [], requests = {} } = this.state;
    for (const one of document.querySelectorAll(".embedded")) one.hidden = !this.isEmbedded;
    this.#section("instances", instances, () => instances.map(instanceCard), "instances_none");
    this.#section("roles", [roles, ensembles, this.picker.targets], () => [this.#roles(roles, ensembles)]);
    const newest = events.slice(-EVENTS).reverse();
    this.#section("events", newest, () => (newest.length ? [el("ol", { className: "events" }, ...newest.map(eventLine))] : []), "events_none");
    byId("requests").textContent = say("requests_text", {
      answered: number(requests.answered ?? 0), failed: number(requests.failed ?? 0), running: number(requests.running ?? 0),
    });
    byId("product").textContent = say("version", this.state);
  }

  /** Draw a section only when its data changed: selections and focus in it stay. */
  #section(id, data, make, empty) {
    const key = JSON.stringify(data);
    if (this.drawn.get(id) === key) return;
    this.drawn.set(id, key);
    const made = make();
    byId(id).replaceChildren(...(made.length || !empty ? made : [el("p", { className: "dim" }, say(empty))]));
  }

  #roles(roles, ensembles) {
    const line = (one, kind, text) => el("li", { title: one.description ?? "" },
      this.picker.badge(one.name, kind), el("span", { className: "who" }, this.picker.label(one.name)), el("span", { className: "dim" }, text));
    return el("ul", { className: "roles" },
      ...roles.map((one) => line(one, "role", one.model)),
      ...ensembles.map((one) => line(one, "ensemble", say("ensemble_of", {
        pattern: one.pattern, roles: (one.roles ?? []).map((role) => this.picker.label(role)).join(", "),
      }))));
  }
}

/** The kinds of states, the gravest first. */
const KINDS = ["failed", "busy", "ready", "stopped"];

const kindOf = ({ state }) => STATES[state] ?? (KINDS.includes(state) ? state : "failed");

const wordOf = ({ state }) => (has(`state_${state}`) ? say(`state_${state}`) : state);

/** What sums up all instances, for the mark on the panel's button. */
function overall(state) {
  const kinds = (state?.instances ?? []).map(kindOf);
  return KINDS.find((one) => kinds.includes(one)) ?? "stopped";
}

function instanceCard(one) {
  const kind = kindOf(one);
  const facts = [
    ["engine", one.server ? `${one.engine} · ${one.server}` : one.engine],
    ["memory", one.memory ? size(one.memory) : null],
    ["context", one.context ? say("context_text", { count: number(one.context) }) : null],
    ["parallel", one.parallel ? number(one.parallel) : null],
    ["load", say("load_text", { running: number(one.running ?? 0), waiting: number(one.waiting ?? 0) })],
    ["restarts", one.attached ? null : number(one.restarts ?? 0)],
    ["since", one.started ? clock(one.started) : null],
  ].filter(([, value]) => value);
  const notes = [one.attached && "attached", one.adopted && "adopted", `${one.residency}_${one.wanted ? "for" : "none"}`];
  return el("article", { className: "instance" },
    el("h4", {}, el("span", { className: "model" }, one.model),
      el("span", { className: `pill ${kind}` }, el("span", { className: `dot ${kind}` }), wordOf(one))),
    ...notes.filter(has).map((key) => el("p", { className: "dim" }, say(key, { model: one.wanted }))),
    one.message && el("p", { className: "message" }, one.message),
    el("dl", {}, ...facts.flatMap(([key, value]) => [el("dt", {}, say(key)), el("dd", {}, value)])));
}

function eventLine(one) {
  const when = new Date(one.time * 1000).toISOString();
  return el("li", {}, el("time", { dateTime: when }, clock(one.time)), el("span", {}, el("b", {}, one.model), " ", one.message));
}
