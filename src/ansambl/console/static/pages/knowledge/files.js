// The files of a drop or of a chosen folder, one after another: a folder may hold a hundred thousand.

const NOT_WANTED = new Set(["node_modules", "__pycache__", "thumbs.db", "desktop.ini"]);

/** Whether a name is one that nobody means when they drop a folder. */
const isNoise = (name) => name.startsWith(".") || NOT_WANTED.has(name.toLowerCase());

/** What was dropped, to be asked for while the event is handled: later the browser knows it no more. */
export const entriesOf = (transfer) =>
  [...transfer.items].filter((one) => one.kind === "file").map((one) => one.webkitGetAsEntry?.() ?? one.getAsFile());

/** Files with the folders that they lay in; `null` for each that is passed over. */
export async function* filesOf(entries) {
  for (const entry of entries) {
    if (entry instanceof File) yield { file: entry, folder: "" };
    else if (entry) yield* within(entry, "", true);
  }
}

async function* within(entry, folder, chosen) {
  if (!chosen && isNoise(entry.name)) {
    yield null;
    return;
  }
  if (entry.isFile) {
    const file = await new Promise((done) => entry.file(done, () => done(null)));
    yield { file, folder, name: entry.name };
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const batch = await new Promise((done) => reader.readEntries(done, () => done([])));
    if (!batch.length) return;
    for (const one of batch) yield* within(one, `${folder}${entry.name}/`, false);
  }
}

/** The files of an input; those of a folder tell where in it they lie. */
export function* filesOfInput(list) {
  for (const file of list) {
    const parts = (file.webkitRelativePath || file.name).split("/");
    if (parts.length > 1 && parts.slice(1).some(isNoise)) yield null;
    else yield { file, folder: parts.slice(0, -1).map((one) => `${one}/`).join("") };
  }
}
