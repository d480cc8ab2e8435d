// Elements without markup: everything that comes from a model, a user or the network passes through here as text.

/** An element with properties, listeners (`on`) and children; strings become text. */
export function el(tag, options = {}, ...children) {
  const made = document.createElement(tag);
  const { on = {}, ...properties } = options;
  Object.assign(made, properties);
  for (const [name, listener] of Object.entries(on)) made.addEventListener(name, listener);
  made.append(...children.filter((one) => one ?? false));
  return made;
}

export const byId = (id) => document.getElementById(id);

/** A value of the browser's storage; null where the browser has none for us. */
export function kept(storage, key) {
  try { return storage().getItem(key); } catch { return null; }
}

/** Keep a value; null removes it. Whether that worked: a storage may be full or forbidden. */
export function keep(storage, key, value) {
  try {
    if (value === null) storage().removeItem(key);
    else storage().setItem(key, value);
    return true;
  } catch {
    return false;
  }
}

export const forTab = () => window.sessionStorage;
export const forBrowser = () => window.localStorage;

/** Say something to those who hear the page. */
export function speakAloud(sentence) { byId("spoken").textContent = sentence; }

/** Hand a file to the browser's downloads. */
export function give(content, type, name) {
  const address = URL.createObjectURL(new Blob([content], { type }));
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
