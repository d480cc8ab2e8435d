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

/** Keep a value; a full or forbidden storage loses only the convenience. Null removes it. */
export function keep(storage, key, value) {
  try {
    if (value === null) storage().removeItem(key);
    else storage().setItem(key, value);
  } catch { /* nothing depends on it */ }
}

export const forTab = () => window.sessionStorage;
export const forBrowser = () => window.localStorage;
