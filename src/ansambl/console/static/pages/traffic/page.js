// The page Traffic: minutes and days of the admin API as charts and as tables of the same numbers.
import { Refused, ask } from "../../lib/asking.js";
import { byId, el } from "../../lib/dom.js";
import { onEvent } from "../../lib/live.js";
import { Alpine, start } from "../../lib/shell.js";
import { language, number, say, seconds } from "../../lib/words.js";

const RANGES = {
  "1h": { path: "traffic?minutes=60&step=1" },
  "24h": { path: "traffic?minutes=1440&step=15" },
  "7d": { path: "usage?days=7", days: 7 },
  "30d": { path: "usage?days=30", days: 30 },
};
const BYS = ["all", "model", "name", "key"];
const DAY = 86_400;
/** Groups that have a line of their own; the others are one together. */
const MOST = 5;
/** Milliseconds between two looks while requests end, and while none does. */
const SOON = 2000;
const MINUTE = 60_000;
const COLOURS = ["--v1", "--v4", "--v3", "--v2", "--bad", "--v5"];
const DASHES = [[], [10, 4], [2, 3], [12, 3, 2, 3], [5, 3], []];
const OTHERS = "\0others";

const shares = (sums, part, whole) => (sums[whole] ? sums[part] / sums[whole] : null);
/** A number to draw; null where there was nothing to measure. */
const METRICS = {
  requests: { of: (sums) => sums.requests },
  failed: { of: (sums) => sums.failed },
  prompt_tokens: { of: (sums) => sums.prompt_tokens },
  output_tokens: { of: (sums) => sums.output_tokens },
  cached_share: { of: (sums) => { const found = shares(sums, "cached_tokens", "prompt_tokens"); return found && found * 100; }, write: (value) => number(value, 1) },
  first_token: { of: (sums) => shares(sums, "first_token_seconds", "first_tokens"), write: seconds },
  queue: { of: (sums) => shares(sums, "queued_seconds", "requests"), write: seconds },
  swaps: { of: (sums) => sums.swaps },
};

const shown = JSON.parse(byId("shown")?.textContent ?? "null");
const charts = new Map();
let library = null;

/** uPlot, when the first chart is drawn. It writes numbers in the browser's language, and fails where that is none, as "C". */
function plots() {
  library ??= new Promise((resolve, reject) => {
    try { Intl.getCanonicalLocales(navigator.language); } catch { Object.defineProperty(navigator, "language", { value: language() }); }
    const script = el("script", { src: new URL("../../vendor/uplot-1.6.32.min.js", import.meta.url).href });
    script.addEventListener("load", () => resolve(window.uPlot));
    script.addEventListener("error", reject);
    document.head.append(script);
  });
  return library;
}

/** Minutes and days in one form: when the steps are, and rows with `at`, the position of their step. */
function table(document_, days) {
  if (!days) {
    const { start: first, step, now, traffic, by_key: keys } = document_;
    const times = [];
    for (let time = first; time <= now; time += step) times.push(time);
    const place = (row) => ({ ...row, at: Math.round((row.time - first) / step) });
    return { times, step, rows: traffic.map(place), keyRows: keys.map(place) };
  }
  const today = Math.floor(Date.now() / 1000 / DAY) * DAY;
  const times = Array.from({ length: days }, (_, at) => today - (days - 1 - at) * DAY);
  const place = (row) => ({ ...row, at: Math.round((Date.parse(`${row.day}T00:00:00Z`) / 1000 - times[0]) / DAY) });
  const within = (row) => row.at >= 0 && row.at < days && (row.requests || row.prompt_tokens || row.output_tokens);
  return { times, step: DAY, rows: document_.usage.map(place).filter(within), keyRows: document_.by_key.map(place).filter(within) };
}

const SUMMED = ["requests", "failed", "prompt_tokens", "cached_tokens", "output_tokens", "queued_seconds", "first_token_seconds", "first_tokens", "swaps"];

function add(sums, row) {
  for (const key of SUMMED) sums[key] = (sums[key] ?? 0) + row[key];
  return sums;
}

/** The rows by group, most requests first: each has its sums, and those of each step. */
function groupsOf({ times, step, rows, keyRows }, by, key) {
  const byKey = by === "key" || Boolean(key);
  const field = byKey && by === "name" ? "model" : by;
  const found = new Map();
  for (const row of byKey ? keyRows.filter((one) => !key || one.key === key) : rows) {
    const id = field === "all" ? "" : row[field];
    if (!found.has(id)) found.set(id, { id, sums: {}, steps: new Map() });
    const group = found.get(id);
    add(group.sums, row);
    group.steps.set(row.at, add(group.steps.get(row.at) ?? {}, row));
  }
  const groups = [...found.values()].sort((a, b) => b.sums.requests - a.sums.requests || (a.id < b.id ? -1 : 1));
  const empty = Object.fromEntries(SUMMED.map((name) => [name, 0]));
  return { times, step, groups, empty, field };
}

/** The lines of a chart: the largest groups, and all others as one. */
function linesOf({ groups, empty }) {
  if (groups.length <= MOST + 1) return groups.length ? groups : [{ id: null, sums: empty, steps: new Map() }];
  const others = { id: OTHERS, sums: {}, steps: new Map() };
  for (const group of groups.slice(MOST)) {
    add(others.sums, group.sums);
    for (const [at, sums] of group.steps) others.steps.set(at, add(others.steps.get(at) ?? {}, sums));
  }
  return [...groups.slice(0, MOST), others];
}

function nameOf(id, field) {
  if (id === OTHERS) return say("others");
  if (field === "all" || id === null) return say("all");
  if (field === "key") return shown.keys[id] ?? id;
  if (field === "model") return id || say("no_model");
  return id === "unresolved" ? say("unresolved") : id || say("no_name");
}

function write(metric, sums) {
  const { of, write: written = number } = METRICS[metric];
  const value = of(sums);
  return value === null ? "–" : written(value);
}

const written = (sums) => Object.fromEntries(Object.keys(METRICS).map((metric) => [metric, write(metric, sums)]));

function times(days, options) {
  const format = new Intl.DateTimeFormat(language(), days ? { day: "numeric", month: "short", timeZone: "UTC" } : { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...options });
  return (time) => format.format(new Date(time * 1000));
}

/** A colour of our style as the canvas takes it. */
function colour(name) {
  const probe = byId("groups");
  probe.style.color = `var(${name})`;
  const found = getComputedStyle(probe).color;
  probe.style.color = "";
  return found;
}

/** A number beside a chart; of counts only the whole ones. */
function axis(value, whole) {
  if (whole && value !== Math.round(value)) return "";
  return new Intl.NumberFormat(language(), { notation: value >= 10_000 ? "compact" : "standard", maximumSignificantDigits: 4 }).format(value);
}

async function draw(found, days) {
  const Plot = await plots();
  const lines = linesOf(found);
  const when = times(days);
  const ink = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const colours = COLOURS.map(colour);
  for (const figure of document.querySelectorAll("[data-chart]")) {
    const metric = figure.dataset.chart;
    const plot = figure.querySelector(".plot");
    const point = figure.querySelector(".point");
    charts.get(metric)?.destroy();
    charts.delete(metric);
    const { of, write: wrote = number } = METRICS[metric];
    const title = say(`metric_${metric}`);
    point.textContent = plot.textContent = "";
    const all = found.groups.reduce((sums, one) => add(sums, one.sums), { ...found.empty });
    plot.setAttribute("aria-label", say("chart", { title, sum: write(metric, all) }));
    const counts = wrote === number;
    const values = lines.map((line) => found.times.map((_, at) => of(line.steps.get(at) ?? found.empty)));
    // Counts stand on each other: each bar is drawn with all below it, the tallest first.
    if (counts) for (let at = 1; at < values.length; at += 1) values[at] = values[at].map((value, step) => value + values[at - 1][step]);
    const order = counts ? lines.map((_, at) => lines.length - 1 - at) : lines.map((_, at) => at);
    const options = {
      width: plot.clientWidth, height: plot.clientHeight, padding: [8, 10, 0, 0], legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false } },
      scales: { x: { time: true, range: () => [found.times[0], found.times.at(-1) + found.step] }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
      tzDate: (time) => (days ? Plot.tzDate(new Date(time * 1000), "Etc/UTC") : new Date(time * 1000)),
      axes: [
        { ...ink, size: 26, gap: 6, values: (_, splits) => splits.map(when), space: 60 },
        { ...ink, size: 46, gap: 6, space: 26, values: (_, splits) => splits.map((value) => axis(value, counts)) },
      ],
      series: [{}, ...order.map((at) => ({
        stroke: colours[at], ...(counts
          ? { fill: colours[at], width: 0, points: { show: false }, paths: Plot.paths.bars({ size: [0.85, 40], align: 1 }) }
          : { width: 2, dash: DASHES[at], points: { show: true, size: 5, fill: colours[at] } }),
      }))],
      hooks: { setCursor: [(chart) => { point.textContent = told(chart.cursor.idx); }] },
    };
    const told = (step) => {
      if (step === null || step === undefined) return "";
      const here = lines.filter((line) => (line.steps.has(step) ? of(line.steps.get(step)) : null) !== null)
        .map((line) => say("value", { name: nameOf(line.id, found.field), value: write(metric, line.steps.get(step)) }));
      return say("point", { time: when(found.times[step]), values: here.join(", ") || "–" });
    };
    const data = [found.times, ...order.map((at) => values[at])];
    charts.set(metric, new Plot(options, data, plot));
  }
}

function traffic() {
  const asked = new URL(location.href).searchParams;
  const chosen = (name, allowed, usual) => (allowed.includes(asked.get(name)) ? asked.get(name) : usual);
  return {
    range: chosen("range", Object.keys(RANGES), "1h"),
    by: chosen("by", BYS, "all"),
    key: chosen("key", Object.keys(shown.keys), ""),
    problem: "",
    since: "",
    legend: [],
    sums: [],
    numbers: [],
    open: false,
    timer: null,
    looked: 0,

    get days() { return RANGES[this.range].days ?? 0; },

    init() {
      if (this.range === "1h") this.take(shown.traffic);
      else this.load();
      onEvent((kind, data) => { if (kind === "snapshot" || (kind === "requests" && data.ended.length)) this.soon(SOON); });
      document.addEventListener("visibilitychange", () => { if (!document.hidden) this.soon(0); });
      new MutationObserver(() => this.show()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.show());
      new ResizeObserver(() => {
        for (const [metric, chart] of charts) {
          const { clientWidth: width, clientHeight: height } = document.querySelector(`[data-chart=${metric}] .plot`);
          if (width && width !== chart.width) chart.setSize({ width, height });
        }
      }).observe(document.querySelector(".charts"));
    },

    /** Look again in a while, once for all that happens until then; without news once a minute, so that time goes on. */
    soon(after) {
      if (document.hidden || (this.timer && this.due <= performance.now() + after)) return;
      clearTimeout(this.timer);
      this.due = performance.now() + after;
      this.timer = setTimeout(() => { this.timer = null; this.load(); }, after);
    },

    choose() {
      const address = new URL(location.href);
      for (const [name, value, usual] of [["range", this.range, "1h"], ["by", this.by, "all"], ["key", this.key, ""]]) {
        if (value === usual) address.searchParams.delete(name);
        else address.searchParams.set(name, value);
      }
      history.replaceState(null, "", address);
      this.load();
    },

    async load() {
      const { range } = this;
      try {
        const found = await ask("GET", RANGES[range].path);
        if (range !== this.range) return;
        this.problem = "";
        this.take(found);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        // A connection that is lost is told already.
        if (error.status) this.problem = error.message;
      }
      this.soon(MINUTE);
    },

    take(found) {
      this.found = Object.freeze(table(found, this.days));
      const late = !this.days && found.counted_since > found.start;
      this.since = late ? say("since", { time: times(0, { day: "numeric", month: "short" })(found.counted_since) }) : "";
      this.show();
      this.soon(MINUTE);
    },

    show() {
      if (!this.found) return;
      const found = groupsOf(Alpine.raw(this.found), this.by, this.key);
      this.sums = found.groups.map((one) => ({ name: nameOf(one.id, found.field), values: written(one.sums) }));
      this.legend = found.groups.length > 1 ? linesOf(found).map((one, at) => ({ name: nameOf(one.id, found.field), kind: `s${at}` })) : [];
      this.fill(found);
      draw(found, this.days);
    },

    /** The table of all numbers is written when somebody wants to see it. */
    fill(found) {
      const when = times(this.days, { day: "numeric", month: "short" });
      this.numbers = !this.open ? [] : found.times.flatMap((time, at) => found.groups.filter((one) => one.steps.has(at)).map((one) => ({
        id: `${time} ${one.id}`, time: when(time), name: nameOf(one.id, found.field), values: written(one.steps.get(at)),
      }))).reverse();
    },

    unfold() {
      this.open = byId("every").open;
      this.fill(groupsOf(Alpine.raw(this.found), this.by, this.key));
    },
  };
}

if (shown) Alpine.data("traffic", traffic);
start();
