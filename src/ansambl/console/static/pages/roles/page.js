// The list of roles: what was removed comes back, and sets come in, after a look at what they would do.
import { Refused, ask, path } from "../../lib/asking.js";
import { byId } from "../../lib/dom.js";
import { start } from "../../lib/shell.js";
import { say } from "../../lib/words.js";

const LARGEST = 1_000_000;

let chosen = null;

const problem = (sentence) => { byId("set-problem").textContent = sentence; };
const listed = (names) => names.join(", ") || say("nothing");

async function orSay(work) {
  problem("");
  try { await work(); } catch (error) {
    if (!(error instanceof Refused)) throw error;
    problem(error.message);
  }
}

function send(dryRun) {
  // The text of a file and not a document: the server reads TOML.
  return ask("POST", `/console/roles/import${dryRun ? "?dry_run=yes" : ""}`, undefined, { body: chosen });
}

function told(key, { created, changed, unchanged }) {
  byId("set-plan").hidden = false;
  byId("set-plan").firstElementChild.textContent =
    say(key, { created: listed(created), changed: listed(changed), unchanged: listed(unchanged) });
}

byId("set-file")?.addEventListener("change", () => orSay(async () => {
  byId("set-plan").hidden = true;
  chosen = byId("set-file").files[0] ?? null;
  if (!chosen) return;
  if (chosen.size > LARGEST) { problem(say("too_large")); return; }
  const found = await send(true);
  told("would", found);
  byId("set-import").hidden = !found.created.length && !found.changed.length;
}));

byId("set-import")?.addEventListener("click", () => orSay(async () => {
  const done = await send(false);
  told("imported", done);
  byId("set-import").hidden = true;
  location.reload();
}));

for (const button of document.querySelectorAll("[data-restore]")) {
  button.addEventListener("click", () => orSay(async () => {
    const { restore, kind, version } = button.dataset;
    // The newest version of what was removed holds what it was.
    await ask("POST", `${path(kind, restore)}/restore`, { version: Number(version) });
    location.reload();
  }));
}

start();
