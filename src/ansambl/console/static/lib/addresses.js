// Addresses that others wrote: a model, a document, the network.

/** The address when it is http or https, beside `base` where it is not whole, else null: nothing else may be clicked. */
export function safeAddress(written, base = undefined) {
  if (typeof written !== "string") return null;
  try {
    // URL.parse would not throw; Safari has it from 18 on.
    const { protocol, href } = new URL(written, base);
    return /^https?:$/.test(protocol) ? href : null;
  } catch {
    return null;
  }
}
