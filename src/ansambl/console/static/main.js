// Joins the parts of the page.
import { Chat } from "./chat.js";
import { Conversation } from "./conversation.js";
import { byId, el, forBrowser, keep, kept } from "./dom.js";
import { Machine } from "./machine.js";
import { Picker } from "./picker.js";
import { onSignedIn, startSession } from "./session.js";
import { onLanguage, say, startLanguages } from "./words.js";

const WIDE = window.matchMedia("(min-width: 60rem)");
const THEMES = ["auto", "light", "dark"];

const picker = new Picker();
const machine = new Machine(picker);
const conversation = new Conversation();
const chat = new Chat(conversation, picker, machine);

startTheme();
startPanel();
startExport();
startLanguages();
startSession();
start();

function startTheme() {
  const button = byId("theme");
  const current = () => document.documentElement.dataset.theme ?? "auto";
  const show = () => {
    button.setAttribute("aria-label", say(`theme_${current()}`));
    button.title = say(`theme_${current()}`);
  };
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(current()) + 1) % THEMES.length];
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    keep(forBrowser, "ansambl.theme", next === "auto" ? null : next);
    show();
  });
  onLanguage(show);
  show();
}

function startPanel() {
  const panel = byId("state");
  const toggle = byId("panel-toggle");
  const show = (open) => {
    panel.hidden = !open;
    toggle.setAttribute("aria-expanded", String(open));
    // On a narrow window the panel lies over the chat, which then must not take the focus.
    byId("main").inert = open && !WIDE.matches;
  };
  const change = (open) => {
    show(open);
    if (WIDE.matches) keep(forBrowser, "ansambl.panel", open ? null : "closed");
    else (open ? byId("panel-close") : toggle).focus();
  };
  const fit = () => show(WIDE.matches && kept(forBrowser, "ansambl.panel") !== "closed");
  toggle.addEventListener("click", () => change(panel.hidden));
  byId("panel-close").addEventListener("click", () => change(false));
  panel.addEventListener("keydown", (event) => { if (event.key === "Escape" && !WIDE.matches) change(false); });
  WIDE.addEventListener("change", fit);
  fit();
}

function startExport() {
  const menu = byId("export");
  const give = (text, type, ending) => {
    const address = URL.createObjectURL(new Blob([text], { type }));
    const stamp = new Date().toISOString().slice(0, 16).replace(/[T:]/g, "-");
    el("a", { href: address, download: `ansambl-${stamp}.${ending}` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
    menu.open = false;
  };
  const { version } = byId("product").dataset;
  byId("export-json").addEventListener("click", () => give(conversation.asJson(version), "application/json", "json"));
  byId("export-markdown").addEventListener("click", () => give(conversation.asMarkdown(say("you")), "text/markdown", "md"));
  document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
  menu.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { menu.open = false; menu.querySelector("summary").focus(); }
  });
}

/** Read the roles once, and again after Ansambl was away: it may have come back with others. */
async function start() {
  let known = false;
  let embedded = null;
  const read = async () => {
    known = await picker.load();
    if (!known) byId("about").textContent = say("no_models");
    chat.known();
    machine.draw();
  };
  machine.onChange(({ returned }) => {
    if (returned || (!known && machine.reachable)) read();
    if (embedded !== machine.isEmbedded) { embedded = machine.isEmbedded; chat.known(); }
  });
  onSignedIn(() => { read(); machine.poll(); });
  await Promise.all([read(), machine.poll()]);
}
