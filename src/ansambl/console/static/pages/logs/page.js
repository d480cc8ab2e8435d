// The page Logs. An engine may write thousands of lines a second: they come into the page once a frame, a bounded number
// of them stays, and each has an id, so that no reconnection shows one twice.
import { ask, path, tried } from "../../lib/asking.js";
import { copyBy } from "../../lib/copying.js";
import { byId, el, forBrowser, give, keep, kept } from "../../lib/dom.js";
import { levelOf, plain } from "../../lib/log_lines.js";
import { Alpine, start } from "../../lib/shell.js";
import { number, say } from "../../lib/words.js";

/** Lines that stay, and that are shown. */
const MOST = 3000;
/** Lines that one frame takes in. */
const AT_ONCE = 400;
const FIRST = 500;
const DOWNLOADED = 5000;
const AGAIN = 3000;
/** Pixels above the end that count as the end. */
const NEAR = 30;
const KEPT = "ansambl.logs";

const before = JSON.parse(byId("shown").textContent);
const chosen = JSON.parse(kept(forBrowser, KEPT) ?? "{}");

const below = (model) => (model ? `instances/${path(model)}/logs` : "logs");

// What changes with every line is apart from Alpine, which would look at all of it each time.
let source = null;
let lastId = "";
let reopening = null;
let lines = [];
let ids = new Set();
let pending = [];
let frame = 0;

function logs() {
  return {
    model: before.chosen,
    words: "",
    level: chosen.level ?? "all",
    // Where a line is much wider than the screen, half of a time stamp is all that would be seen of it.
    wrap: chosen.wrap ?? matchMedia("(max-width: 40rem)").matches,
    paused: false,
    state: "opening",
    problem: "", busy: false,
    counts: "",
    atEnd: true,

    init() {
      for (const name of ["words", "level"]) this.$watch(name, () => this.showAll());
      for (const name of ["level", "wrap"]) this.$watch(name, () => this.remember());
      this.$watch("wrap", () => { if (this.atEnd) this.$nextTick(() => this.toNewest()); });
      window.addEventListener("pagehide", () => this.close());
      window.addEventListener("pageshow", (event) => { if (event.persisted) this.open(); });
      document.addEventListener("visibilitychange", () => { if (!document.hidden) this.schedule(); });
      this.open();
    },

    remember() { keep(forBrowser, KEPT, JSON.stringify({ level: this.level, wrap: this.wrap })); },

    get sources() {
      const live = this.$store.live;
      const known = live.known ? live.instances : before.sources;
      const named = known.map((one) => ({ model: one.model, name: one.attached ? say("attached", { model: one.model }) : one.model, attached: one.attached }));
      return [{ model: "", name: say("own"), attached: false }, ...named];
    },

    get kind() { return { live: "ready", opening: "busy", lost: "failed" }[this.paused ? "paused" : this.state] ?? "stopped"; },
    get word() { return say(this.paused ? "paused" : this.state); },
    get pauseWord() { return say(this.paused ? "continue" : "pause"); },

    choose() {
      const address = new URL(location.href);
      if (this.model) address.searchParams.set("model", this.model);
      else address.searchParams.delete("model");
      history.replaceState(null, "", address);
      lines = [];
      ids = new Set();
      pending = [];
      lastId = "";
      this.paused = false;
      this.atEnd = true;
      this.showAll();
      this.open();
    },

    close() {
      clearTimeout(reopening);
      source?.close();
      source = null;
    },

    open() {
      this.close();
      this.problem = "";
      this.state = "opening";
      const after = lastId ? `&after=${encodeURIComponent(lastId)}` : "";
      const address = `/admin/api/${below(this.model)}/stream?lines=${FIRST}${after}`;
      const opened = new EventSource(address);
      source = opened;
      opened.addEventListener("open", () => { this.state = "live"; });
      opened.addEventListener("line", (event) => this.take(event.lastEventId, JSON.parse(event.data).line));
      opened.addEventListener("gap", (event) => this.tell(JSON.parse(event.data).bytes === null ? "emptied" : "gap"));
      opened.addEventListener("error", () => {
        if (source !== opened) return;
        // The browser comes back by itself, with the id of the last line.
        if (opened.readyState !== EventSource.CLOSED) { this.state = "lost"; return; }
        this.close();
        this.refused(address);
      });
    },

    /** The browser gave up: what the server says of it, or another try where it says nothing. */
    async refused(address) {
      const stop = new AbortController();
      const model = this.model;
      try {
        const answer = await fetch(address, { signal: stop.signal });
        const found = answer.ok ? null : (await answer.json().catch(() => null))?.error;
        stop.abort();
        if (model !== this.model) return;
        if (found && ![429, 503].includes(answer.status)) {
          this.problem = found.message;
          this.state = "nobody";
          return;
        }
        this.problem = found?.message ?? "";
      } catch { /* It does not answer; the frame says so. */ }
      if (model !== this.model) return;
      this.state = "lost";
      reopening = setTimeout(() => this.open(), AGAIN);
    },

    take(id, line) {
      lastId = id || lastId;
      if (id && ids.has(id)) return;
      if (id) ids.add(id);
      const text = plain(line);
      pending.push({ id, text, level: levelOf(text), told: false });
      this.hold();
    },

    tell(key) {
      pending.push({ id: "", text: say(key), level: "", told: true });
      this.hold();
    },

    hold() {
      // A page that nobody sees draws no frames, and one that is paused takes none in.
      if (pending.length > MOST) this.forget(pending.splice(0, pending.length - MOST));
      this.schedule();
    },

    forget(gone) { for (const one of gone) ids.delete(one.id); },

    schedule() { frame ||= requestAnimationFrame(() => { frame = 0; this.draw(); }); },

    draw() {
      if (!this.paused && pending.length) {
        const added = pending.splice(0, AT_ONCE);
        lines.push(...added);
        this.append(added.filter((one) => this.fits(one)));
        if (lines.length > MOST) {
          const gone = lines.splice(0, lines.length - MOST);
          this.forget(gone);
          const log = this.$refs.log;
          for (let left = gone.filter((one) => this.fits(one)).length; left && log.firstChild; left -= 1) log.firstChild.remove();
        }
        if (this.atEnd) this.toNewest();
        if (pending.length) this.schedule();
      }
      this.count();
    },

    fits({ text, level, told }) {
      if (told) return true;
      if (this.level === "error" && level !== "error") return false;
      if (this.level === "warning" && !level) return false;
      return !this.words || text.toLowerCase().includes(this.words.toLowerCase());
    },

    append(some) {
      this.$refs.log.append(...some.map((one) => el("div", { className: one.told ? "told" : one.level, textContent: one.text })));
    },

    showAll() {
      this.$refs.log.replaceChildren();
      this.append(lines.filter((one) => this.fits(one)));
      this.toNewest();
      this.count();
    },

    count() {
      const parts = [say("counts", { shown: number(this.$refs.log.childElementCount), kept: number(lines.length) })];
      if (this.paused && pending.length) parts.push(say("held", { count: number(pending.length) }));
      if (lines.length === MOST) parts.push(say("dropped"));
      this.counts = parts.join(" · ");
    },

    toggle() {
      this.paused = !this.paused;
      this.schedule();
    },

    toNewest() {
      const log = this.$refs.log;
      log.scrollTop = log.scrollHeight;
      this.atEnd = true;
    },

    scrolled() {
      const log = this.$refs.log;
      this.atEnd = log.scrollHeight - log.clientHeight - log.scrollTop < NEAR;
    },

    copy() {
      return copyBy(this.$el, `${[...this.$refs.log.children].map((one) => one.textContent).join("\n")}\n`);
    },

    download() {
      return tried(this, true, async () => {
        const found = await ask("GET", `${below(this.model)}?lines=${DOWNLOADED}`);
        const name = (this.model || "ansambl").replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(0, 80);
        give(`${found.lines.join("\n")}\n`, "text/plain;charset=utf-8", `${name}.log`);
      });
    },
  };
}

Alpine.data("logs", logs);
start();
