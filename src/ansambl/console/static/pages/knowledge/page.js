// The page Knowledge and the pages of its documents.
import { byId } from "../../lib/dom.js";
import { Alpine, start } from "../../lib/shell.js";
import { making, narrowing, placing, removal } from "./changing.js";
import { reading } from "./reading.js";
import { sending } from "./sending.js";
import { work } from "./work.js";

const components = { making, narrowing, placing, reading, removal, sending, work };
for (const [name, component] of Object.entries(components)) Alpine.data(name, component);
start();

const passage = byId("passage");
if (passage) {
  passage.scrollIntoView({ block: "center" });
  passage.focus({ preventScroll: true });
}
