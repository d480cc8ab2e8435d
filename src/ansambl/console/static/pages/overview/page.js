// The page Overview: what is in the live store, put into words.
import { Refused, ask, path, tried } from "../../lib/asking.js";
import { byId } from "../../lib/dom.js";
import { onEvent, seed } from "../../lib/live.js";
import { Alpine, start } from "../../lib/shell.js";
import { clock, has, number, say, seconds, size } from "../../lib/words.js";

const REQUESTS = 25;
const EVENTS = 15;
const PARTS = ["weights", "kv_cache", "compute", "overhead"];
const DOWN = ["failed", "unreachable"];
const BUSY = ["starting", "restarting", "stopping", "installing"];
const LEFT = 499;
/** Milliseconds between two looks at the clock. */
const LOOK = 15_000;
/** What stands for a name that nothing here has; the name itself is the client's, and is not kept. */
const UNRESOLVED = "unresolved";

/** What the server wrote the page with; nothing where it wrote why there is no page. */
const shown = JSON.parse(byId("shown")?.textContent ?? "null");

const word = (key, fallback) => (has(key) ? say(key) : fallback);
const share = (part) => say("percent", { amount: number(part * 100, part < 0.1 ? 1 : 0) });

/** The colour of a state; what nobody here knows is shown as a failure. */
function kindOf({ state, residency }) {
  if (BUSY.includes(state) || ["draining", "leaving", "loading"].includes(residency)) return "busy";
  if (state === "ready") return "ready";
  return state === "asleep" || state === "stopped" ? "stopped" : "failed";
}

function wordOf({ state, residency }) {
  if (state === "ready" && residency === "draining") return say("residency_draining");
  if (state === "stopped" && residency === "loading") return say("residency_loading");
  return word(`state_${state}`, state);
}

/** What is reserved on each device by part, of all instances together. */
function deviceOf(device, instances) {
  const sums = Object.fromEntries([...PARTS, "undivided"].map((kind) => [kind, 0]));
  const holders = [];
  for (const one of instances) {
    const reserved = one.reserved[device.device] ?? 0;
    if (!reserved) continue;
    const parts = one.parts?.[device.device] ?? {};
    let known = 0;
    for (const kind of PARTS) {
      sums[kind] += parts[kind] ?? 0;
      known += parts[kind] ?? 0;
    }
    sums.undivided += Math.max(0, reserved - known);
    holders.push({ model: one.model, text: say(one.measured ? "holds" : "holds_forecast", { size: size(reserved) }) });
  }
  sums.other = device.foreign;
  const used = Object.values(sums).reduce((sum, one) => sum + one, 0);
  const bar = {};
  let x = 0;
  for (const [kind, amount] of Object.entries(sums)) {
    const width = device.capacity ? Math.min(1000 - x, (1000 * amount) / device.capacity) : 0;
    bar[kind] = { x: x.toFixed(1), width: Math.max(0, width).toFixed(1) };
    x += width;
  }
  sums.free = Math.max(0, device.capacity - used);
  const parts = Object.entries(sums).filter(([kind, amount]) => amount || kind === "free")
    .map(([kind, amount]) => ({ kind, text: say("bar_part", { part: say(`part_${kind}`), size: size(amount) }) }));
  const title = device.device === "ram" ? "RAM" : device.device.replace("gpu", "GPU ");
  return {
    device: device.device, title, bar, parts, holders,
    text: say("used_of", { used: size(Math.min(used, device.capacity)), capacity: size(device.capacity) }),
    label: say("bar", { device: title, parts: parts.map((one) => one.text).join(", ") }),
  };
}

function notesOf(one, now) {
  const minutes = one.state === "starting" && one.started ? Math.floor((now - one.started) / 60) : 0;
  const swap = `${one.residency}_${one.wanted ? "for" : "none"}`;
  return [
    has(swap) && say(swap, { model: one.wanted }),
    minutes > 0 && say("slow_start", { minutes: number(minutes) }),
    one.pinned && word(`pinned_${one.pinned_by}`, ""),
    one.attached && say("attached"),
    one.adopted && say("adopted"),
  ].filter(Boolean);
}

const classes = (counts) => Object.entries(counts ?? {})
  .map(([name, count]) => say("waits_class", { count: number(count), class: word(`class_${name}`, name) })).join(", ");

function factsOf(one) {
  const speed = one.speed ?? {};
  const facts = {
    engine: one.server ? `${one.engine} · ${one.server}` : one.engine,
    memory: one.memory && size(one.memory),
    context: one.context && say("context_text", { count: number(one.context) }),
    parallel: one.parallel && number(one.parallel),
    load: say("load_text", { running: number(one.running), waiting: number(one.waiting) }),
    waits: classes(one.waiting_by_class),
    speed: speed.decode && say("speed_text", { rate: number(speed.decode, speed.decode < 10 ? 1 : 0) }),
    prefill: speed.prefill && say("speed_text", { rate: number(speed.prefill) }),
    cached: one.cached_share !== null && share(one.cached_share),
    kv_used: one.kv_cache_share !== null && share(one.kv_cache_share),
    swaps: one.attached ? null : number(one.swaps),
    restarts: one.attached ? null : number(one.restarts),
    since: one.started && clock(one.started),
    rests_at: one.rests_at && clock(one.rests_at),
    loras: one.loras.join(", "),
  };
  return Object.entries(facts).filter(([, value]) => value).map(([key, value]) => ({ key, name: say(key), value }));
}

/** What can be done with it now, by the name of the route, and "restart", which are two. */
function actionsOf(one) {
  if (one.attached || !shown.may_change) return [];
  const isIn = ["ready", "starting", "restarting"].includes(one.state);
  const keys = one.state === "asleep" ? ["wake", "unload"] : isIn ? [...(one.state === "ready" && one.sleep_levels.length ? ["sleep"] : []), "unload", "restart"] : one.state === "failed" ? ["again"] : ["load"];
  return [...keys, one.pinned ? "unpin" : "pin"].map((key) => {
    const name = say(`do_${key}`);
    return { key, name, label: say("do_for", { action: name, model: one.model }) };
  });
}

function requestOf(one) {
  const timed = (value) => (value === null ? "–" : seconds(value));
  const status = one.status === null ? say("running") : one.status === LEFT ? say("left") : one.code ? `${one.status} ${one.code}` : String(one.status);
  return {
    number: one.number, time: clock(one.time), name: one.name === UNRESOLVED ? say("unresolved") : one.name || "–", model: one.model || "–",
    of: word(`class_${one.request_class}`, one.request_class), key: one.key === "local" ? say("local") : one.key, status,
    kind: one.status === null ? "busy" : one.status < 400 ? "ready" : one.status === LEFT ? "stopped" : "failed",
    queued: timed(one.status === null ? null : one.queued), first: timed(one.first), seconds: timed(one.seconds),
    prompt: one.prompt_tokens === null ? "–" : say("cached_of", {
      cached: one.cached_tokens === null ? "–" : number(one.cached_tokens), prompt: number(one.prompt_tokens),
    }),
    output: one.output_tokens === null ? "–" : number(one.output_tokens),
  };
}

function overview() {
  return {
    roleList: shown.state.roles,
    ensembleList: shown.state.ensembles,
    companionList: shown.state.companions,
    problem: "",
    busy: "",
    asked: { title: "", text: "", yes: "" },
    doing: null,
    now: shown.now,

    init() {
      // By the clock of Ansambl: that of a browser on another machine may be wrong.
      const ahead = shown.now - Date.now() / 1000;
      setInterval(() => { this.now = Date.now() / 1000 + ahead; }, LOOK);
      onEvent((kind, data) => {
        if (kind === "snapshot" || (kind === "event" && this.companionList.some((one) => one.name === data.model))) this.catchUp();
      });
    },

    /** A snapshot tells what is: what happened before it, and roles, are asked for. */
    async catchUp() {
      try {
        const [state, { requests }] = await Promise.all([ask("GET", "state"), ask("GET", "requests?limit=50")]);
        this.roleList = state.roles;
        this.ensembleList = state.ensembles;
        this.companionList = state.companions ?? [];
        seed({ state, requests });
      } catch (error) {
        // A stream that breaks is told already, and the next one asks again.
        if (!(error instanceof Refused)) throw error;
      }
    },

    get instances() { return this.$store.live.instances; },
    get companions() {
      return this.companionList.map((one) => ({
        name: one.name, title: one.title, kind: kindOf(one), word: wordOf(one), message: one.message, address: one.state === "ready" ? one.address : null,
      }));
    },
    get embedded() { return this.$store.live.defaultModel === "embedded"; },
    get devices() { return this.$store.live.devices.map((one) => deviceOf(one, this.instances)); },
    get events() {
      return this.$store.live.events.slice(0, EVENTS).map((one, at) => ({
        key: `${one.time} ${at} ${one.model}`, time: clock(one.time), iso: new Date(one.time * 1000).toISOString(), model: one.model, message: one.message,
      }));
    },
    get requests() { return this.$store.live.requests.slice(0, REQUESTS).map(requestOf); },

    get sums() {
      const all = this.instances;
      const add = (key) => all.reduce((sum, one) => sum + (one[key] ?? 0), 0);
      // Engines are asked now and then, or never say it; the newest answer says it, too.
      const told = all.map((one) => one.speed?.decode).filter(Boolean);
      const newest = this.$store.live.requests.find((one) => one.first !== null && one.output_tokens > 1 && one.seconds > one.first);
      const rates = told.length || !newest ? told : [newest.output_tokens / (newest.seconds - newest.first)];
      const shares = all.map((one) => one.cached_share).filter((one) => one !== null);
      return {
        waiting: number(add("waiting")), swaps: number(add("swaps")), restarts: number(add("restarts")),
        rate: rates.length ? number(Math.max(...rates), Math.max(...rates) < 10 ? 1 : 0) : "–",
        cached: shares.length ? share(shares.reduce((sum, one) => sum + one, 0) / shares.length) : "–",
      };
    },

    get trouble() {
      const all = this.instances;
      const down = all.filter((one) => DOWN.includes(one.state)).map((one) => ({
        model: one.model, what: say("one_down", { model: one.model, state: wordOf(one) }), why: one.message ?? "", todo: say(`todo_${one.state}`), log: logOf(one),
      }));
      return { none: !all.length, down, title: down.length === all.length ? say("all_down") : down.map((one) => one.model).join(", ") };
    },

    get cards() {
      return this.instances.map((one, at) => ({
        model: one.model, id: `instance-${at}`, kind: kindOf(one), word: wordOf(one), notes: notesOf(one, this.now), message: one.message,
        facts: factsOf(one), actions: actionsOf(one), log: logOf(one), roles: this.namesOn(one.model),
      }));
    },

    namesOn(model) {
      const roles = this.roleList.filter((one) => one.model === model).map((one) => one.name);
      const ensembles = this.ensembleList.filter((one) => one.roles.some((name) => roles.includes(name)));
      return [...roles, ...ensembles.map((one) => one.name)].join(", ");
    },

    get roles() {
      const by = new Map(this.instances.map((one) => [one.model, one]));
      const state = (model) => by.get(model) ?? { state: "stopped" };
      const models = new Map(this.roleList.map((one) => [one.name, one.model]));
      return [
        ...this.roleList.map((one) => ({
          key: `role ${one.name}`, name: one.name, about: one.description, on: one.model || say("nothing_runs_it"),
          kind: kindOf(state(one.model)), word: wordOf(state(one.model)),
        })),
        ...this.ensembleList.map((one) => {
          const used = [...new Set([...one.roles, one.conductor].map((name) => models.get(name)).filter(Boolean))];
          // It answers as well as the worst of what it needs.
          const worst = ["failed", "stopped", "busy", "ready"].map((kind) => used.map(state).find((status) => kindOf(status) === kind)).find(Boolean);
          return {
            key: `ensemble ${one.name}`, name: one.name, about: one.description,
            on: `${used.join(", ")} (${say("ensemble_of", { pattern: one.pattern, roles: one.roles.join(", ") })})`,
            kind: kindOf(worst ?? { state: "stopped" }), word: wordOf(worst ?? { state: "stopped" }),
          };
        }),
      ];
    },

    /** Do something with an instance; where somebody is being answered, ask first. */
    act(model, key) {
      const one = this.instances.find((found) => found.model === model);
      this.doing = { model, key };
      if (!one || !["unload", "restart", "sleep"].includes(key) || !(one.running || one.waiting)) { this.go(); return; }
      this.asked = {
        title: say(`ask_${key}`, { model }), yes: say(`do_${key}`),
        text: `${say("ask_busy", { running: number(one.running), waiting: number(one.waiting) })} ${say(`ask_then_${key}`)}`,
      };
      this.$refs.confirm.returnValue = "";
      this.$refs.confirm.showModal();
    },

    answered() { if (this.$refs.confirm.returnValue === "yes") this.go(); },

    async go() {
      const { model, key } = this.doing;
      const at = (verb) => `instances/${path(model)}/${verb}`;
      await tried(this, model, async () => {
        if (key === "restart") {
          await ask("POST", at("stop"));
          await ask("POST", at("load?wait=false"));
        } else if (key === "unpin" || key === "sleep") await ask("POST", at(key));
        else await ask("POST", at(`${["wake", "again"].includes(key) ? "load" : key}?wait=false`));
      });
    },
  };
}

/** Whoever runs an engine of somebody else keeps its log. */
const logOf = ({ model, attached }) => (attached ? null : `/console/logs?model=${encodeURIComponent(model)}`);

Alpine.data("overview", overview);
if (shown) seed(shown);
start();
