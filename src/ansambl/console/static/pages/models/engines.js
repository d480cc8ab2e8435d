// Engines: installed and removed, with progress. What an installation would be the server writes; this begins it.
import { ask, path, tried } from "../../lib/asking.js";
import { byId, speakAloud } from "../../lib/dom.js";
import { onEvent } from "../../lib/live.js";
import { number, say, size } from "../../lib/words.js";

/** The list of engines is asked for anew. */
const changed = () => document.body.dispatchEvent(new CustomEvent("engines-changed"));

const offer = () => byId("engine-offer");

function rowOf(one, stopping) {
  const goes = one.ended === null;
  const write = one.counts === "bytes" ? size : number;
  const counted = one.total && goes ? say("done_of", { done: write(one.done), size: write(one.total) }) : "";
  const what = one.version ? say("engine_of", one) : one.title;
  return {
    ...one, goes, stopping, what, word: say(goes && stopping ? "pull_stopping" : `${one.kind}_${one.state}`),
    max: one.total || 1, value: one.state === "done" ? one.total || 1 : one.done,
    text: goes ? [one.stage, counted].filter(Boolean).join(" · ") : "", stops: goes && one.kind === "install", stopLabel: say("stop_install", { engine: what }),
    again: !goes && one.state !== "done" && one.kind === "install",
  };
}

export function engines() {
  return {
    busy: "",
    problem: "",
    stopping: {},

    init() {
      const live = this.$store.live;
      const before = JSON.parse(byId("installs").textContent);
      live.installs = { ...Object.fromEntries(before.map((one) => [one.id, one])), ...live.installs };
      // What an installation would be, or why there is none, has come.
      offer().addEventListener("htmx:afterSwap", () => {
        this.problem = "";
        offer().focus();
      });
      onEvent((kind, data) => {
        if (kind === "install" && data.ended !== null) {
          const { what, word } = rowOf(data);
          speakAloud(`${what}: ${word}`);
          changed();
        }
        // Events were missed, among them perhaps the end of an installation.
        if (kind === "snapshot" && data.missed) this.reread();
      });
    },

    async reread() {
      const { installs } = await ask("GET", "engines/installs");
      this.$store.live.installs = Object.fromEntries(installs.map((one) => [one.id, one]));
      changed();
    },

    get installs() {
      const all = Object.values(this.$store.live.installs).sort((a, b) => b.created - a.created);
      return all.map((one) => rowOf(one, !!this.stopping[one.id]));
    },

    again({ engine, build, compiled }) {
      const wanted = new URLSearchParams({ engine, build, ...(compiled && { compile: 1 }) });
      window.htmx.ajax("GET", `/console/models/install?${wanted}`, "#engine-offer");
    },

    leave() { offer().replaceChildren(); },

    install({ engine, build, compile }) {
      return this.begin("install", () => ask("POST", "engines/install", { engine, build, compile: compile === "yes" }));
    },

    remove({ engine }) { return this.begin("remove", () => ask("DELETE", `engines?engine=${encodeURIComponent(engine)}`)); },

    async begin(what, work) {
      const job = await tried(this, what, work);
      if (!job) return;
      this.leave();
      // The stream may have told more of it already.
      this.$store.live.installs = { [job.id]: job, ...this.$store.live.installs };
      if (job.ended !== null) changed();
      byId("install-list").scrollIntoView({ block: "nearest" });
    },

    async stop(id) {
      this.stopping = { ...this.stopping, [id]: true };
      await tried(this, "stop", () => ask("POST", `engines/installs/${path(id)}/stop`));
    },
  };
}
