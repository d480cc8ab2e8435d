// The question of the page: it stands in the address, and every change of it asks anew what fits and what to run.
import { copy, copyBy } from "../../lib/copying.js";
import { byId } from "../../lib/dom.js";
import { Alpine, start } from "../../lib/shell.js";
import { number, say } from "../../lib/words.js";

const read = (id) => JSON.parse(byId(id).textContent);
const FIRST_STEP = 9;
const DESCRIBED = "described:";
/** Milliseconds of quiet before the options are asked for: they take half a second; one model's fit is asked for at once. */
const QUIET = 350;
/** htmx learns what the form asks for when the document was read. Firefox has Alpine ready before that, Chromium after. */
const whole = new Promise((resolve) => {
  if (document.readyState === "complete") resolve();
  else document.addEventListener("DOMContentLoaded", resolve, { once: true });
});

let keys = 0;

/** A machine of the address as the form's fields. */
function machineOf(written) {
  const empty = { key: ++keys, name: written, gpu: "", count: 1, more: [], ram: 64, processor: "" };
  if (!written.startsWith(DESCRIBED)) return empty;
  const [gpus = "", ram = "", processor = ""] = written.slice(DESCRIBED.length).split(";");
  // The form has one kind of GPU; a link may name more of them.
  const [first, ...more] = gpus.split(",");
  const [gpu = "", count = "1"] = first.split("*");
  return { ...empty, name: "described", gpu, count: Number(count) || 1, more, ram: Number(ram) || 0, processor };
}

function question() {
  const asked = read("asked");
  let timer = 0;
  let last = "";
  return {
    ...asked,
    machines: asked.machine.map(machineOf),
    search: "",
    counted: "",
    get contextStep() { return Math.min(11, Math.max(0, Math.round(Math.log2(Number(this.context) || 1) - FIRST_STEP))); },
    set contextStep(step) { this.context = 2 ** (Number(step) + FIRST_STEP); },
    init() {
      const chosen = [...this.rows()].find((one) => one.querySelector("input").value === this.model);
      // A browser that comes back may have kept another choice than the address says.
      if (chosen) chosen.querySelector("input").checked = true;
      this.filter();
      this.$watch("search", () => this.filter());
      byId("quantization").addEventListener("htmx:afterSwap", (event) => { event.target.value = this.quantization; });
      // What is behind the form's fields is written by Alpine a moment later.
      this.$nextTick(async () => {
        chosen?.scrollIntoView({ block: "nearest" });
        window.scrollTo(0, 0);
        await whole;
        this.ask();
      });
      document.body.addEventListener("click", (event) => this.clicked(event));
    },
    rows() { return this.$root.querySelectorAll(".model"); },
    filter() {
      const words = this.search.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const one of this.rows()) {
        const said = words.length ? `${one.dataset.words} ${one.textContent.toLowerCase()}` : "";
        one.hidden = !words.every((word) => said.includes(word));
        if (!one.hidden) count += 1;
      }
      this.counted = say("shown_models", { count: number(count) });
    },
    /** Another model: any of its quantizations, and those that it has come from the server. */
    choose(model) {
      if (model === this.model) return;
      this.model = model;
      this.quantization = "";
      window.htmx.trigger("#quantization", "model");
    },
    written(one) {
      if (one.name !== "described") return one.name;
      const gpus = [...(one.gpu ? [`${one.gpu}*${one.count || 1}`] : []), ...one.more];
      return `${DESCRIBED}${gpus.join(",")};${one.ram || 0};${one.processor}`;
    },
    addMachine() { this.machines.push(machineOf("this")); this.changed(); },
    removeMachine(at) { this.machines.splice(at, 1); this.changed(); },
    addOnly() { if (!this.only.includes(this.model)) this.only.push(this.model); this.changed(); },
    removeOnly(name) { this.only = this.only.filter((one) => one !== name); this.changed(); },
    removing: (name) => say("remove", { name }),
    changed(event) {
      // The search only filters the list.
      if (event?.target.id === "search") return;
      if (event?.target.name === "model") this.choose(event.target.value);
      this.$nextTick(() => this.ask());
    },
    ask() {
      const fields = new URLSearchParams(new FormData(this.$root));
      const words = fields.toString();
      if (words === last) return;
      last = words;
      const address = new URL(location.href);
      const lang = address.searchParams.get("lang");
      if (lang) fields.set("lang", lang);
      address.search = fields.toString();
      history.replaceState(null, "", address);
      byId("as-file").href = `/console/plan/page?${fields}`;
      window.htmx.trigger("#fit", "ask");
      clearTimeout(timer);
      timer = setTimeout(() => {
        byId("apply").replaceChildren();
        window.htmx.trigger("#options", "ask");
      }, QUIET);
    },
    clicked(event) {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.dataset.change) {
        Object.assign(this, JSON.parse(button.dataset.change));
        this.changed();
      } else if ("cancels" in button.dataset) byId("apply").replaceChildren();
      else if (button.dataset.copy) copyBy(button, byId(button.dataset.copy).textContent);
    },
  };
}

function sharing() {
  return {
    told: "",
    async copy() {
      const address = new URL(location.href);
      address.searchParams.delete("lang");
      this.told = (await copy(address.href)).word;
    },
  };
}

// What was agreed to is asked for once: the questions go when the answer to them has come.
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.elt.id === "apply-now" && event.detail.successful) byId("apply").replaceChildren();
  if (event.detail.target?.id === "apply" && event.detail.successful) byId("apply").focus();
});

Alpine.data("question", question);
Alpine.data("sharing", sharing);
start();
