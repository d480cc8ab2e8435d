// What every page does: colours, menus, the live store. A page's own module registers its components, then calls `start`.
import Alpine from "../vendor/alpine-csp-3.17.4.min.js";
import { ask, tried } from "./asking.js";
import { byId, forBrowser, forTab, keep, kept } from "./dom.js";
import { live, watch } from "./live.js";
import { clock, number, say, seconds, size } from "./words.js";

export { Alpine };

const THEMES = ["auto", "light", "dark"];
const RETURNED = "ansambl.returned";
const ENTER = "#enter=";

/** Make the page work. `watches` is whether it shows what happens in Ansambl. */
export function start({ watches = true } = {}) {
  startTheme();
  keepQuery();
  startSession();
  Alpine.store("live", live);
  Alpine.magic("say", () => say);
  Alpine.magic("number", () => number);
  Alpine.magic("seconds", () => seconds);
  Alpine.magic("size", () => size);
  Alpine.magic("clock", () => clock);
  Alpine.data("menu", menu);
  Alpine.data("signIn", signIn);
  Alpine.start();
  if (watches && document.body.dataset.watches !== "no" && !byId("sign-in-page")) watch(Alpine.store("live"));
  document.body.dataset.ready = "yes";
}

function startTheme() {
  const button = byId("theme");
  const current = () => document.documentElement.dataset.theme ?? "auto";
  const show = () => {
    const name = say(`theme_${current()}`);
    button.setAttribute("aria-label", name);
    button.title = name;
  };
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(current()) + 1) % THEMES.length];
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    keep(forBrowser, "ansambl.theme", next === "auto" ? null : next);
    show();
  });
  show();
}

function startSession() {
  byId("sign-out")?.addEventListener("click", async () => {
    await ask("DELETE", "/console/session");
    location.reload();
  });
  if (byId("sign-in-page")) returnWithCookie();
  // Whoever is in already needs no such address, and it shall not be copied from there.
  else if (location.hash.startsWith(ENTER)) history.replaceState(null, "", location.pathname + location.search);
}

/** Browsers send our cookie with no link of another page; whoever is signed in gets the page all the same. Once. */
async function returnWithCookie() {
  const tried = kept(forTab, RETURNED) === location.href;
  keep(forTab, RETURNED, null);
  if (tried || location.hash) return;
  const answer = await fetch("/admin/api/me").catch(() => null);
  if (!answer?.ok) return;
  keep(forTab, RETURNED, location.href);
  location.replace(location.href);
}

/** A change of the language keeps the rest of the address. */
function keepQuery() {
  for (const one of document.querySelectorAll("[data-language]")) {
    one.addEventListener("click", () => {
      const address = new URL(location.href);
      address.searchParams.set("lang", one.dataset.language);
      one.href = address.href;
    });
  }
}

/** A menu that closes by Escape and by a click elsewhere. */
function menu() {
  return {
    root: {
      "@keydown.escape"() { this.$el.open = false; this.$el.querySelector("summary").focus(); },
      "@click.outside"() { this.$el.open = false; },
    },
  };
}

function signIn() {
  return {
    key: "",
    problem: "",
    busy: false,
    /** An address of `ansambl console` brings what signs in once. It does not stay in the browser's history. */
    async init() {
      if (!location.hash.startsWith(ENTER)) return;
      const invitation = location.hash.slice(ENTER.length);
      history.replaceState(null, "", location.pathname + location.search);
      await this.give({ invitation });
      if (this.problem) this.problem = say("used_up");
    },
    send() { return this.give({ key: this.key.trim() }); },
    give(secret) {
      return tried(this, true, async () => {
        await ask("POST", "/console/session", secret);
        location.reload();
      });
    },
  };
}
