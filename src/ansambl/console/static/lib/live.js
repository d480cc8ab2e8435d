// What happens in Ansambl, live: the event stream kept as a store. A stream that was lost goes on where it broke off, by
// the id of the last event; where too much was missed, Ansambl begins with a new snapshot. Nothing is counted twice:
// requests go by their number, instances by their model, and sums come from Ansambl itself.
import { language, say } from "./words.js";

const REQUESTS = 100;
const EVENTS = 50;
/** Pulls and installations that are over and still known: as many as Ansambl itself remembers. */
const OVER = 100;
const KINDS = ["snapshot", "instance", "removed", "devices", "load", "rest", "event", "requests", "job", "pull", "install", "stopping"];
/** Milliseconds after which a stream that the browser gave up is opened anew. */
const AGAIN = 3000;
/** Milliseconds between two changes of the page: what comes between them is shown together. */
const PERIOD = 250;
/** Milliseconds after which a page that nobody sees lets go of its stream: a browser has six connections for all tabs. */
const HIDDEN = 5_000;

/**
 * The store `live`: `notice` is what to tell about the connection, "" while all is well. `instances` and `devices` are as
 * in GET /admin/api/state; `requests` and `events` hold the newest first; `known` is whether a snapshot has come, `online`
 * whether the stream is open.
 */
export const live = {
  known: false,
  online: false,
  notice: "",
  instances: [],
  devices: [],
  requests: [],
  events: [],
  pulls: {},
  installs: {},
  counts: { answered: 0, failed: 0, running: 0 },
  defaultModel: "",
  started: null,
};

/** What is known, apart from the store: it changes with every event, the store (and the page with it) by and by. */
const facts = { ...live };
const changed = new Set();
const listeners = [];
let told = [];
let timer = null;
let shown = 0;
let store = live;
let source = null;
let reopening = null;
let lastId = "";

/** Call `listener(kind, data)` after every event was taken into the store. */
export const onEvent = (listener) => listeners.push(listener);

/** Put what a page asked for itself into the store: documents of GET /admin/api/state and of GET /admin/api/requests. */
export function seed({ state, requests = [] }) {
  if (state) {
    if (!facts.known) set({ instances: state.instances, devices: state.devices, counts: state.requests });
    const known = [...state.events].reverse();
    // What the stream brought while the answer was on its way is newer than all of it.
    const newer = facts.events.filter((one) => one.time > (known[0]?.time ?? 0));
    set({ defaultModel: state.default_model, events: [...newer, ...known].slice(0, EVENTS) });
    begin(state.started);
  }
  takeRequests(requests);
  show();
}

/** Watch from now on; `reactive` is the store as Alpine made it. */
export function watch(reactive) {
  store = reactive;
  // A tab that was opened behind another one has nothing to show yet, and no event will tell that it is hidden.
  if (!document.hidden) open();
  let hiding = null;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(close, HIDDEN);
    else if (!source) open();
  });
  // A page that was put away by the browser and comes back has a dead stream.
  window.addEventListener("pageshow", (event) => { if (event.persisted) { close(); open(); } });
  window.addEventListener("pagehide", close);
}

function close() {
  clearTimeout(reopening);
  reopening = null;
  source?.close();
  source = null;
}

function open() {
  close();
  const opened = new EventSource(`/admin/api/events${lastId ? `?after=${encodeURIComponent(lastId)}` : ""}`);
  source = opened;
  for (const kind of KINDS) {
    opened.addEventListener(kind, (event) => {
      lastId = event.lastEventId || lastId;
      take(kind, JSON.parse(event.data));
    });
  }
  opened.addEventListener("open", () => { store.online = true; store.notice = ""; });
  opened.addEventListener("error", () => {
    if (source !== opened) return;
    store.online = false;
    if (opened.readyState !== EventSource.CLOSED) { store.notice = say("gone"); return; }
    close();
    refused();
  });
}

/** The browser gave the stream up. Whoever may not watch gets no complaint: the page itself says what it needs. */
async function refused() {
  const answer = await fetch("/admin/api/me").catch(() => null);
  if (answer?.status === 401 && store.known) location.reload();
  const may = answer?.ok ? (await answer.json()).endpoints : [];
  if (answer && !store.known && !may.some((one) => one.startsWith("admin"))) return;
  store.notice = (answer?.ok && await whyNot()) || say("gone");
  reopening = setTimeout(open, AGAIN);
}

/** What Ansambl says where it answers and gives no stream, as when too many are open; a browser does not tell. */
async function whyNot() {
  const asked = new AbortController();
  const headers = { "accept-language": language() };
  const answer = await fetch("/admin/api/events", { signal: asked.signal, headers }).catch(() => null);
  const found = answer && !answer.ok ? await answer.json().catch(() => null) : null;
  asked.abort();
  return found?.error?.message;
}

function take(kind, data) {
  HANDLERS[kind]?.(data);
  told.push([kind, data]);
  timer ??= setTimeout(show, Math.max(0, shown + PERIOD - performance.now()));
}

/** Bring the page up to date. */
function show() {
  clearTimeout(timer);
  timer = null;
  shown = performance.now();
  for (const key of changed) store[key] = facts[key];
  changed.clear();
  const news = told;
  told = [];
  for (const [kind, data] of news) for (const listener of listeners) listener(kind, data);
}

function set(fields) {
  Object.assign(facts, fields);
  for (const key of Object.keys(fields)) changed.add(key);
}

/** What is shown is of the run that began then; another run counts its requests anew. */
function begin(started) {
  if (facts.started !== null && facts.started !== started) set({ requests: [] });
  set({ started });
}

/** Requests go by their number; one that has ended is not running again because an older list says so. */
function takeRequests(listed) {
  const known = new Map(facts.requests.map((one) => [one.number, one]));
  for (const one of listed) if (one.status !== null || !known.has(one.number)) known.set(one.number, one);
  set({ requests: [...known.values()].sort((a, b) => b.number - a.number).slice(0, REQUESTS) });
}

/** What is known of long work by its id, with this news of one of them; the oldest that are over are forgotten. */
function together(known, news) {
  const all = { ...known, [news.id]: news };
  const over = Object.values(all).filter((one) => one.ended !== null).sort((a, b) => b.ended - a.ended);
  for (const one of over.slice(OVER)) delete all[one.id];
  return all;
}

const HANDLERS = {
  snapshot(data) {
    begin(data.started);
    set({ known: true, instances: data.instances, devices: data.devices, counts: data.requests, defaultModel: data.default_model });
  },
  instance(data) {
    const isNew = !facts.instances.some((one) => one.model === data.model);
    set({ instances: isNew ? [...facts.instances, data] : facts.instances.map((one) => (one.model === data.model ? data : one)) });
  },
  removed({ model }) { set({ instances: facts.instances.filter((one) => one.model !== model) }); },
  devices({ devices }) { set({ devices }); },
  event(data) { set({ events: [data, ...facts.events].slice(0, EVENTS) }); },
  requests(data) {
    takeRequests([...data.begun, ...data.ended]);
    set({ counts: { answered: data.answered, failed: data.failed, running: data.running } });
  },
  pull(data) { store.pulls = together(store.pulls, data); },
  install(data) { store.installs = together(store.installs, data); },
  stopping() { store.notice = say("gone"); },
};
