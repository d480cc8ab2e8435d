// The page Models and engines: searching, fetching with progress, configured models live, and what is on the disk.
import { ask, path, tried } from "../../lib/asking.js";
import { copyBy } from "../../lib/copying.js";
import { byId, forTab, keep, kept, speakAloud } from "../../lib/dom.js";
import { onEvent } from "../../lib/live.js";
import { Alpine, start } from "../../lib/shell.js";
import { has, number, say, size } from "../../lib/words.js";
import { engines } from "./engines.js";

const KEPT = "ansambl.models.wanted";
const SIZES = 6;
const BUSY = ["starting", "restarting", "stopping"];
const IN_MEMORY = ["starting", "ready", "restarting", "asleep"];
const GOES = ["waiting", "running"];

/** The lists of this page are asked for anew. */
const changed = () => document.body.dispatchEvent(new CustomEvent("models-changed"));

function duration(seconds) {
  if (seconds < 90) return say("left_seconds", { count: number(Math.max(1, Math.round(seconds))) });
  if (seconds < 5400) return say("left_minutes", { count: number(Math.round(seconds / 60)) });
  return say("left_hours", { count: number(seconds / 3600, 1) });
}

function pullRow(one, stopping) {
  const goes = GOES.includes(one.state);
  const parts = [say("done_of", { done: size(one.done), size: size(one.size) })];
  if (goes && one.rate) parts.push(say("a_second", { size: size(one.rate) }));
  if (goes && one.left !== null) parts.push(duration(one.left));
  return {
    ...one, goes, stopping, again: ["stopped", "failed"].includes(one.state),
    word: say(goes && stopping ? "pull_stopping" : `pull_${one.state}`), text: parts.join(" · "),
    label: say("fetching", { reference: one.reference }), stopLabel: say("stop_of", { reference: one.reference }),
  };
}

const sizesOf = (pairs) => {
  const told = pairs.slice(0, SIZES).map(([quantization, bytes]) => say("about_size", { quantization, size: size(bytes) }));
  return told.join(", ") + (pairs.length > SIZES ? ` (+${pairs.length - SIZES})` : "");
};

function known(model) {
  const about = [];
  if (model.parameters) about.push(say("parameters", { count: number(model.parameters / 1e9, 1) }));
  if (model.context) about.push(say("context", { count: number(model.context) }));
  return {
    key: `catalog ${model.name}`, name: model.title, about: about.join(", "), reference: model.name, reason: "",
    sizes: sizesOf(model.checkpoints.map((one) => [one.quantization, one.bytes])),
    licence: model.licence ?? say("licence_unknown"), label: say("fetch_of", { reference: model.name }),
  };
}

function onHub(one) {
  const about = [];
  if (one.fits !== null) about.push(say(one.fits ? "fits" : "fits_not"));
  if (one.downloads !== null) about.push(say("downloads", { count: number(one.downloads) }));
  const licence = one.licence ?? say("licence_unknown");
  return {
    key: `hub ${one.repo}`, name: one.repo, about: about.join(", "), reference: one.reference, reason: one.reason ?? "",
    sizes: sizesOf(Object.entries(one.sizes)), licence: one.gated ? say("gated", { licence }) : licence,
    label: say("fetch_of", { reference: one.reference ?? one.repo }),
  };
}

/** What to tell of an offer; its page is a link only where it is an address of the web. */
function shown(offer) {
  const terms = offer.licence_title ?? offer.licence ?? say("licence_unknown");
  return {
    ...offer, terms, kind: [offer.format, offer.quantization].filter(Boolean).join(" "),
    asks: offer.licence_to_accept !== null, button: say("fetch_size", { size: size(offer.size - offer.here) }),
    link: /^https?:\/\//.test(offer.page ?? "") ? offer.page : "", source: say(offer.source === "hub" ? "hub" : "index"),
  };
}

function getting() {
  return {
    wanted: kept(forTab, KEPT) ?? "",
    fits: false,
    accepted: false,
    busy: "",
    problem: "",
    found: null,
    offer: null,
    stopping: {},

    init() {
      const before = JSON.parse(byId("pulls").textContent);
      const live = this.$store.live;
      live.pulls = { ...Object.fromEntries(before.map((one) => [one.id, one])), ...live.pulls };
      window.addEventListener("fetch-wanted", (event) => this.look(event.detail));
      this.$watch("wanted", (wanted) => keep(forTab, KEPT, wanted));
      onEvent((kind, data) => {
        if (kind === "pull" && data.state === "done") {
          speakAloud(say("pulled", { reference: data.reference }));
          changed();
        }
        // Events were missed, among them perhaps the end of a pull.
        if (kind === "snapshot" && data.missed) this.reread();
      });
    },

    async reread() {
      const { pulls } = await ask("GET", "models/pulls");
      this.$store.live.pulls = Object.fromEntries(pulls.map((one) => [one.id, one]));
      changed();
    },

    get pulls() {
      const all = Object.values(this.$store.live.pulls).sort((a, b) => b.created - a.created);
      return all.map((one) => pullRow(one, !!this.stopping[one.id]));
    },

    get nothing() { return this.found && !this.found.length && !this.busy && !this.problem ? say("nothing_found") : ""; },

    get ready() { return !this.busy && !this.offer.lacking && (!this.offer.asks || this.accepted); },

    async find() {
      const words = this.wanted.trim();
      if (!words) return;
      this.offer = null;
      this.found = null;
      await tried(this, "find", async () => {
        const parts = words.toLowerCase().split(/\s+/);
        const { models } = await ask("GET", "catalog");
        const listed = models.filter((one) => !one.configured && parts.every((part) => `${one.name} ${one.repo} ${one.title}`.toLowerCase().includes(part)));
        this.found = listed.map(known);
        const { found } = await ask("POST", "models/find", { words: words.slice(0, 200), fits: this.fits });
        this.found = [...this.found, ...found.map(onHub)];
      });
    },

    async look(reference) {
      const wanted = reference.trim();
      if (!wanted) return;
      const offer = await tried(this, "look", () => ask("POST", "models/announce", { reference: wanted }));
      this.accepted = false;
      this.offer = offer && shown(offer);
      if (!offer) return;
      await this.$nextTick();
      byId("offer").focus();
      speakAloud(say("announced"));
    },

    async pull() {
      const accept_licence = this.accepted ? this.offer.licence_to_accept : "";
      const wanted = { reference: this.offer.wanted, accept_licence };
      const job = await tried(this, "pull", () => ask("POST", "models/pull", wanted));
      if (!job) return;
      this.offer = null;
      this.found = null;
      // The stream may have told more of it already.
      this.$store.live.pulls = { [job.id]: job, ...this.$store.live.pulls };
      if (job.state === "done") changed();
      byId("wanted").focus();
    },

    leave() { this.offer = null; byId("wanted").focus(); },

    async stop(id) {
      this.stopping = { ...this.stopping, [id]: true };
      await tried(this, "stop", () => ask("POST", `models/pulls/${path(id)}/stop`));
    },
  };
}

function instance() {
  return {
    model: "",
    busy: "",
    problem: "",
    init() { this.model = this.$el.dataset.model; },
    get one() { return this.$store.live.instances.find((found) => found.model === this.model); },
    get loaded() { return IN_MEMORY.includes(this.one?.state) || this.one?.residency === "loading"; },
    get pinned() { return this.one?.pinned ?? false; },
    get engine() { return this.one?.engine ?? ""; },
    get context() { return this.one?.context ? number(this.one.context) : "–"; },
    get message() { return this.one?.message ?? ""; },
    get kind() {
      const { state, residency } = this.one ?? {};
      if (BUSY.includes(state) || ["loading", "draining", "leaving"].includes(residency)) return "busy";
      if (state === "ready") return "ready";
      return ["failed", "unreachable"].includes(state) ? "failed" : "stopped";
    },
    get word() {
      if (!this.one) return this.$store.live.known ? say("not_started") : "…";
      const { state, residency } = this.one;
      if (state === "stopped" && residency === "loading") return say("residency_loading");
      if (state === "ready" && residency === "draining") return say("residency_draining");
      return has(`state_${state}`) ? say(`state_${state}`) : state;
    },
    get note() { return this.pinned ? say(`pinned_${this.one.pinned_by ?? "hand"}`) : ""; },
    fetch() { window.dispatchEvent(new CustomEvent("fetch-wanted", { detail: this.$root.dataset.checkpoint })); },
    async act(verb) {
      const waits = (this.one?.running ?? 0) + (this.one?.waiting ?? 0);
      if (verb === "unload" && waits && !window.confirm(say("ask_unload", { count: number(waits) }))) return;
      const wait = verb === "unpin" ? "" : "?wait=false";
      await tried(this, verb, () => ask("POST", `instances/${path(this.model)}/${verb}${wait}`));
    },
  };
}

/** What copies the lines beside it. */
function copying() {
  return {
    copy() { return copyBy(this.$el, this.$refs.lines.textContent); },
  };
}

function checkpoint() {
  return {
    ...copying(),
    busy: "",
    problem: "",
    where: "",
    told: "",
    init() { this.where = this.$el.dataset.path; },
    async reload() {
      this.told = "";
      const found = await tried(this, "reload", () => ask("POST", "reload"));
      if (!found) return;
      this.told = [say("read_again"), ...(found.warnings ?? [])].join(" ");
      // A list that came anew at once would take the answer away.
      if (found.added.length) changed();
    },
    async remove() {
      const gone = await tried(this, "remove", () => ask("DELETE", `models?model=${encodeURIComponent(this.where)}`));
      if (!gone) return;
      speakAloud(say("removed", { path: gone.path }));
      changed();
    },
  };
}

Alpine.data("getting", getting);
Alpine.data("engines", engines);
Alpine.data("instance", instance);
Alpine.data("copying", copying);
Alpine.data("checkpoint", checkpoint);
start();
