// The folded panel of sampling: a slider counts only where its box is checked, else the role's own value does.
import { byId, forTab, keep, kept } from "../../lib/dom.js";
import { number, say } from "../../lib/words.js";

const KEY = "ansambl.chat.sampling";
const SLIDERS = {
  temperature: { field: "temperature", value: (at) => at, text: (value) => number(value, 1) },
  limit: { field: "max_tokens", value: (at) => 2 ** at, text: (value) => number(value) },
};

/** Start the panel; returns a function that gives the fields of a request. */
export function startSampling() {
  let before = {};
  try { before = JSON.parse(kept(forTab, KEY) ?? "{}") ?? {}; } catch { /* as the roles say */ }
  const refresh = () => {
    for (const [id, one] of Object.entries(SLIDERS)) {
      const own = byId(`${id}-own`).checked;
      byId(id).disabled = !own;
      byId(`${id}-shown`).value = own ? one.text(one.value(byId(id).valueAsNumber)) : say("as_role");
      byId(id).ariaValueText = byId(`${id}-shown`).value;
    }
    byId("sampling-now").textContent = Object.keys(fields()).length ? say("sampling_set") : "";
  };
  const fields = () => Object.fromEntries(Object.entries(SLIDERS)
    .filter(([id]) => byId(`${id}-own`).checked)
    .map(([id, one]) => [one.field, one.value(byId(id).valueAsNumber)]));
  for (const id of Object.keys(SLIDERS)) {
    if (typeof before[id] === "number") { byId(id).value = before[id]; byId(`${id}-own`).checked = true; }
    for (const one of [byId(id), byId(`${id}-own`)]) {
      one.addEventListener("input", () => {
        const own = Object.keys(SLIDERS).filter((slider) => byId(`${slider}-own`).checked);
        keep(forTab, KEY, JSON.stringify(Object.fromEntries(own.map((slider) => [slider, byId(slider).valueAsNumber]))));
        refresh();
      });
    }
  }
  refresh();
  return fields;
}
