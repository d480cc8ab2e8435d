// The versions of a role: when, what changed and how, and back to one of them.
import { byId, el } from "../../lib/dom.js";
import { clock, say } from "../../lib/words.js";
import { difference } from "./diff.js";
import { nameOf, same, shown } from "./form.js";

const ACTIONS = { created: "created", changed: "changed", removed: "removed", restored: "restored_version",
  renamed: "renamed", imported: "imported_version" };

/** How one set of keys became another, key by key; null where nothing differs. */
function changedKeys(before, after) {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((key) => !same(before[key], after[key]));
  if (!keys.length) return null;
  return el("div", {}, ...keys.map((key) => el("div", { className: "change" },
    el("strong", { textContent: nameOf(key) }), difference(shown(before[key]), shown(after[key])))));
}

/** Write the list, the newest first; `restore(number)` is called by a button. */
export function showVersions(versions, restore) {
  const list = byId("version-list");
  if (!list) return;
  list.replaceChildren(...versions.map((one, at) => {
    const before = at ? versions[at - 1].fields : {};
    const row = el("li", {}, el("div", { className: "row between" },
      el("span", { textContent: `${say("version", { number: one.number })} · ${say(ACTIONS[one.action] ?? one.action)} · ${clock(one.time)}` })));
    if (one.number !== versions.at(-1).number) {
      row.firstChild.append(el("button", { type: "button", className: "plain small", textContent: say("restore"),
        ariaLabel: say("restore_version", { number: one.number }), on: { click: () => restore(one.number) } }));
    }
    const found = changedKeys(before, one.fields);
    const fields = one.changed.map(nameOf).join(", ");
    row.append(found ? el("details", {}, el("summary", { textContent: say("fields_changed", { fields: fields || Object.keys(one.fields).map(nameOf).join(", ") }) }), found)
      : el("p", { className: "small dim", textContent: say("nothing_changed") }));
    return row;
  }).reverse());
}
