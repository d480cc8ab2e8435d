// Conversations as files. No elements here.

/** The document of the export of some conversations, each `{title, created, changed, turns}`; times in milliseconds. */
export function asJson(conversations, version) {
  const time = (one) => new Date(one).toISOString();
  return JSON.stringify({
    application: "ansambl",
    version,
    exported: time(Date.now()),
    conversations: conversations.map(({ title, created, changed, turns }) => ({
      title, created: time(created), changed: time(changed), messages: messagesOf(turns),
    })),
  }, null, 2);
}

const messagesOf = (turns) => turns.flatMap(({ question, answers, kept }, index) => [
  { turn: index + 1, role: "user", content: question },
  ...answers.map((answer) => ({
    turn: index + 1,
    role: "assistant",
    name: answer.name,
    content: answer.content,
    ...(kept === answer.name && { continued: true }),
    ...(answer.reasoning && { reasoning_content: answer.reasoning }),
    ...(answer.usage && { usage: answer.usage }),
    ...(answer.instance && { instance: answer.instance }),
    ...(answer.first !== null && { first_word_seconds: answer.first }),
    ...(answer.seconds !== null && { seconds: answer.seconds }),
    ...(answer.queued !== null && { queued_ms: answer.queued }),
    ...(answer.account && { ansambl: answer.account }),
    ...(answer.error && { error: answer.error }),
  })),
]);

/** `you` is the heading of questions. */
export function asMarkdown(conversations, you) {
  return conversations.map(({ title, turns }) => [
    `# ${oneLine(title)}\n`,
    ...turns.flatMap(({ question, answers }) => [
      `## ${you}\n\n${question}\n`,
      ...answers.map((one) => `## ${oneLine(one.name)}\n\n${one.content || `> ${one.error ?? "…"}`}\n`),
    ]),
  ].join("\n")).join("\n");
}

const oneLine = (text) => text.replace(/\s+/g, " ");
