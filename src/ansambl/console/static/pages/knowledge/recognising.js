// Whether a file is the export of somebody's chats. Only its beginning or its end is read: exports are gigabytes.

const HEAD = 256 * 1024;
/** A zip's list of its files stands at its end. */
const TAIL = 1024 * 1024;
const SIGNS = [
  /"mapping"\s*:\s*\{/, // ChatGPT
  /"chat_messages"\s*:\s*\[/, // Claude
  /"history"\s*:\s*\{\s*"(messages|currentId)"/, // Open WebUI
  /"messages"\s*:\s*\[\s*\{\s*"versions"/, // LM Studio
];

/** Whether it is one. Raises what the browser raises where the file cannot be read. */
export async function isExportOfChats(file) {
  const name = file.name.toLowerCase();
  if (name.endsWith(".json")) {
    const head = await file.slice(0, HEAD).text();
    return SIGNS.some((one) => one.test(head));
  }
  if (!name.endsWith(".zip")) return false;
  const tail = new TextDecoder("latin1").decode(await file.slice(Math.max(0, file.size - TAIL)).arrayBuffer());
  return /conversations(-\d+)?\.json/.test(tail);
}
