// The editor of one role or ensemble: a draft that survives a reload, saves that see what others saved, and trials.
import { Refused, ask, path } from "../../lib/asking.js";
import { byId, el, forTab, keep, kept, speakAloud } from "../../lib/dom.js";
import { start } from "../../lib/shell.js";
import { say } from "../../lib/words.js";
import { Form, effective, nameOf, same, shown } from "./form.js";
import { difference } from "./diff.js";
import { startTrying } from "./trying.js";
import { showVersions } from "./versions.js";

const ASKED = "ansambl.asked";
const data = byId("data") && JSON.parse(byId("data").textContent);
if (data) startEditor();
start();

function startEditor() {
  const { kind, name, options, copied } = data;
  const locked = Boolean(data.entry?.read_only);
  const shipped = data.entry?.shipped ?? {};
  const keyOf = (one) => `ansambl.draft.${kind}.${one}`;
  const key = keyOf(name ?? (copied ? `\nfrom ${copied.name}` : ""));
  const nameInput = byId("f-name");
  const named = () => name ?? nameInput.value.trim();
  let base = data.entry?.version ?? 0;
  let initial = {};
  let leaving = false;
  let theirs = null;
  let versions = data.versions;

  const form = new Form(kind, shipped, options, () => touched());

  function beginWith() {
    // Of what stands in the file all counts, of what is saved here what was set; a copy has a name and aliases of its own.
    if (locked) return data.entry.fields;
    if (data.entry) return data.entry.saved ?? {};
    return copied ? Object.fromEntries(Object.entries(copied.fields).filter(([one]) => one !== "aliases")) : {};
  }

  /** Only what a form says of itself can be compared with what it says later. */
  function show(own) {
    form.write(own);
    return form.own();
  }

  const isDirty = () => !same(form.own(), initial) || Boolean(nameInput && nameInput.value.trim());

  function touched() {
    const dirty = isDirty();
    if (locked) return;
    byId("dirty").textContent = dirty ? say("unsaved") : "";
    byId("discard").disabled = !dirty;
    keep(forTab, key, dirty ? JSON.stringify({ base, name: nameInput?.value ?? "", own: form.own() }) : null);
    form.mark();
  }

  function discard() {
    form.clear();
    problem("");
    if (nameInput) nameInput.value = "";
    byId("conflict").hidden = true;
    byId("draft-note").hidden = true;
    // An older draft may have begun at an older version.
    base = data.entry?.version ?? 0;
    show(initial);
    touched();
  }

  function bringBack() {
    const found = kept(forTab, key);
    if (!found || locked) return;
    try {
      const draft = JSON.parse(found);
      form.write(draft.own);
      if (nameInput) nameInput.value = draft.name;
      base = draft.base;
    } catch { keep(forTab, key, null); return; }
    if (isDirty()) note(say("draft_back"));
    touched();
  }

  function note(sentence, ...buttons) {
    byId("draft-note").replaceChildren(el("span", { textContent: sentence }), ...buttons);
    byId("draft-note").hidden = !sentence;
  }

  const problem = (sentence) => { byId("save-problem").textContent = sentence; };

  /** Show an error where it belongs; true, because it is shown. */
  function complain(error) {
    // A new name that is an alias of another one is told of the aliases, of which there may be none here.
    const about = error.param === "aliases" && nameInput && !byId("f-aliases").value.trim() ? "name" : error.param;
    if (!form.complain(about, error.message)) problem(error.message);
    return true;
  }

  async function save(over = base) {
    form.clear();
    problem("");
    note("");
    if (!named()) { complain(new Refused(say("name_needed"), 400, null, "name")); return; }
    // The address of such a one would be that of something else.
    if (!name && (named().includes("/") || [".", ".."].includes(named()))) {
      complain(new Refused(say("name_of_address"), 400, null, "name"));
      return;
    }
    if (!name && [...options.roles, ...options.ensembles].includes(named())) {
      complain(new Refused(say("name_taken"), 400, null, "name"));
      return;
    }
    byId("save").disabled = true;
    try {
      const sent = form.own();
      await saved(await ask("PUT", path(kind, named()), { fields: sent, base_version: over }), sent);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.status === 409 && error.code === "version_conflict" && name) await conflict(error);
      else complain(error.code === "version_conflict" ? new Refused(error.message, 409, error.code, "name") : error);
    } finally {
      byId("save").disabled = false;
    }
  }

  async function saved(entry, sent) {
    const isFirst = data.entry === null || data.entry.version === null;
    // What was typed while it was on its way is not saved yet.
    const isWhole = same(form.own(), sent);
    initial = isWhole ? show(entry.saved ?? {}) : sent;
    base = entry.version;
    data.entry = entry;
    byId("conflict").hidden = true;
    if (isFirst) {
      // The page has parts now that it had not: versions, another name, removal. What was typed meanwhile goes along.
      const draft = isWhole ? null : JSON.stringify({ base, name: "", own: form.own() });
      keep(forTab, key, null);
      keep(forTab, keyOf(entry.name), draft);
      leave(`${location.pathname}?kind=${kind}&name=${encodeURIComponent(entry.name)}&saved=${entry.version}`);
      return;
    }
    touched();
    if (isWhole) tell(entry.version);
    versions = (await ask("GET", `${path(kind, entry.name)}/versions`)).versions;
    showVersions(versions, restore);
    offer();
  }

  function tell(version) {
    const sentence = say("saved", { version });
    byId("dirty").textContent = sentence;
    speakAloud(sentence);
  }

  function leave(address) {
    leaving = true;
    keep(forTab, ASKED, byId("question")?.value ?? null);
    location.replace(address);
  }

  async function conflict(error) {
    try {
      theirs = await ask("GET", path(kind, name));
    } catch (failure) {
      if (!(failure instanceof Refused) || failure.status !== 404) throw failure;
      theirs = { version: null, saved: null };
    }
    const mine = effective(shipped, form.own());
    const other = effective(shipped, theirs.saved ?? {});
    const keys = [...new Set([...Object.keys(mine), ...Object.keys(other)])].filter((one) => !same(mine[one], other[one]));
    byId("conflict-why").textContent = theirs.version === null ? say("they_removed") : error.message;
    byId("conflict-rows").replaceChildren(...(keys.length ? keys.map((one) => side(one, other[one], mine[one]))
      : [el("p", { textContent: say("same_now") })]));
    byId("conflict").hidden = false;
    byId("conflict").focus();
  }

  function side(one, other, mine) {
    const part = (title, value) => el("div", {}, el("small", { className: "dim", textContent: title }),
      el("div", { className: "diff", textContent: shown(value) }));
    const isLong = typeof other === "string" && typeof mine === "string" && other.length + mine.length > 60;
    return el("div", { className: "change" }, el("strong", { textContent: nameOf(one) }), ...(isLong
      ? [el("small", { className: "dim", textContent: say("diff_legend") }), difference(other, mine)]
      : [el("div", { className: "sides" }, part(say("theirs"), other), part(say("mine"), mine))]));
  }

  function takeTheirs() {
    const mine = form.own();
    data.entry = { ...data.entry, ...theirs };
    base = theirs.version ?? 0;
    initial = show(theirs.saved ?? {});
    byId("conflict").hidden = true;
    note(say("took_theirs"), el("button", { type: "button", className: "plain small", textContent: say("mine"), on: {
      click() { form.write(mine); note(""); touched(); },
    } }));
    touched();
  }

  async function restore(number) {
    problem("");
    if (isDirty()) { problem(say("save_first")); byId("save-problem").scrollIntoView({ block: "center" }); return; }
    await orComplain(async () => {
      const entry = await ask("POST", `${path(kind, name)}/restore`, { version: number, base_version: base });
      leave(`${location.pathname}?kind=${kind}&name=${encodeURIComponent(name)}&saved=${entry.version}`);
    });
  }

  async function orComplain(work, place = byId("save-problem")) {
    try { await work(); } catch (error) {
      if (!(error instanceof Refused)) throw error;
      place.textContent = error.message;
    }
  }

  /** What the draft can be compared with. */
  function offer() {
    const select = byId("against");
    if (!select) return;
    const before = select.value;
    const found = [];
    if (name) found.push(["n:" + name, say("in_effect")]);
    else if (copied) found.push(["n:" + copied.name, say("file_version", { name: copied.name })]);
    for (const one of [...versions].reverse()) found.push([`v:${one.number}`, say("version", { number: one.number })]);
    select.replaceChildren(...found.map(([value, title]) => el("option", { value, textContent: title })),
      el("option", { value: "", textContent: say("no_value") }));
    if (found.some(([value]) => value === before)) select.value = before;
    nameAsking();
  }

  /** The draft alone is asked, or both. */
  function nameAsking() { byId("ask").textContent = say(byId("against").value ? "ask_both" : "ask"); }

  function startRest() {
    byId("rename")?.addEventListener("submit", (event) => {
      event.preventDefault();
      const wanted = byId("new-name").value.trim();
      orComplain(async () => {
        await ask("POST", `${path(kind, name)}/rename`, { name: wanted, base_version: base });
        keep(forTab, key, null);
        leave(`${location.pathname}?kind=${kind}&name=${encodeURIComponent(wanted)}`);
      }, byId("rest-problem"));
    });
    byId("remove")?.addEventListener("click", () => byId("sure").showModal());
    byId("sure-no")?.addEventListener("click", () => byId("sure").close());
    byId("sure-yes")?.addEventListener("click", () => orComplain(async () => {
      byId("sure").close();
      await ask("DELETE", `${path(kind, name)}?base_version=${base}`);
      keep(forTab, key, null);
      leave("/console/roles");
    }, byId("rest-problem")));
  }

  initial = show(beginWith());
  showVersions(versions, restore);
  offer();
  byId("against")?.addEventListener("change", nameAsking);
  startRest();
  if (locked) return;
  bringBack();
  touched();
  const told = new URL(location.href);
  if (told.searchParams.has("saved")) {
    if (!isDirty()) tell(told.searchParams.get("saved"));
    // Whoever tries, saves and tries again asks the same.
    byId("question").value = kept(forTab, ASKED) ?? "";
    told.searchParams.delete("saved");
    history.replaceState(null, "", told);
  }
  byId("form").addEventListener("submit", (event) => { event.preventDefault(); save(); });
  byId("discard").addEventListener("click", discard);
  byId("take-mine").addEventListener("click", () => save(theirs.version ?? 0));
  byId("take-theirs").addEventListener("click", takeTheirs);
  byId("go-on").addEventListener("click", () => { byId("conflict").hidden = true; byId("save").focus(); });
  startTrying({ kind, draft: () => ({ name: named(), fields: form.own() }), refused: complain });
  for (const one of document.querySelectorAll("[data-language]")) one.addEventListener("click", () => { leaving = true; });
  window.addEventListener("beforeunload", (event) => { if (!leaving && isDirty()) event.preventDefault(); });
}
