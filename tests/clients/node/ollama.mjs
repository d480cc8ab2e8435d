// Ollama's own npm client against a model that calls tools, thinks and looks at images.
// Prints what it understood as one JSON document. Arguments: address, model, a picture in base64.
import { Ollama } from "ollama";

const [address, model, picture] = process.argv.slice(2);
const client = new Ollama({ host: address });
const user = (content, more = {}) => [{ role: "user", content, ...more }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "weather", description: "Tells the weather.", parameters } }];
const gathered = async (listed) => {
  const all = [];
  for await (const one of listed) all.push(one);
  return all;
};
const found = {};

const whole = await client.chat({ model, messages: user("Please think, по-русски"), options: { num_ctx: 4096 } });
found.text = [whole.message.content, whole.message.thinking, whole.done_reason, whole.prompt_eval_count];
const parts = await gathered(await client.chat({ model, messages: user("по-русски"), stream: true }));
found.streamed = parts.map((one) => one.message.content).join("");
found.last = [parts.at(-1).done, parts.at(-1).eval_count];

const called = await client.chat({ model, messages: user("How is it in both?"), tools });
const results = called.message.tool_calls.map((one) => ({
  role: "tool", tool_name: one.function.name, content: `Snow in ${one.function.arguments.city}.`,
}));
const answer = await client.chat({
  model, tools, messages: [...user("How is it in both?"), called.message, ...results],
});
found.tools = {
  calls: called.message.tool_calls.map((one) => one.function.arguments), answer: answer.message.content,
};
found.image = (await client.chat({ model, messages: user("", { images: [picture] }) })).message.content;
found.generated = (await client.generate({ model, prompt: "Hello" })).response;
found.listed = (await client.list()).models.map((one) => one.model);
found.shown = (await client.show({ model })).capabilities;
try {
  await client.chat({ model: "nobody", messages: user("Hi") });
} catch (error) {
  found.error = [error.name, error.status_code];
}
const endless = await client.generate({ model, prompt: "wait for ever", stream: true });
try {
  for await (const _ of endless) endless.abort();
} catch (error) {
  found.aborted = error.name;
}
console.log(JSON.stringify(found));
