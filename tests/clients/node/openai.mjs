// The official npm client of OpenAI against a model that calls tools, thinks and looks at images.
// Prints what it understood as one JSON document. Arguments: address, model, a picture in base64.
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const [address, model, picture] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: "any", maxRetries: 0, timeout: 20_000 });
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "weather", parameters } }];
const Weather = z.object({ city: z.string(), degrees: z.number() });
const user = (content) => [{ role: "user", content }];
const gathered = async (listed) => {
  const all = [];
  for await (const one of listed) all.push(one);
  return all;
};
const found = {};

const whole = await client.chat.completions.create({ model, messages: user("Hello"), seed: 1, stop: ["END"] });
found.chat = { content: whole.choices[0].message.content, reason: whole.choices[0].finish_reason, usage: whole.usage };

const pieces = [];
let usage = null;
let thoughts = "";
const stream = await client.chat.completions.create({
  model, messages: user("Please think, по-русски"), stream: true, stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  const delta = chunk.choices[0]?.delta;
  thoughts += delta?.reasoning_content ?? "";
  if (delta?.content) pieces.push(delta.content);
  usage = chunk.usage ?? usage;
}
found.stream = { pieces, usage, thoughts };

const called = [];
const runner = client.chat.completions.runTools({
  model,
  messages: user("How is it in both?"),
  tools: [{
    type: "function",
    function: {
      name: "weather", parameters, parse: JSON.parse,
      function: ({ city }) => { called.push(city); return `Snow in ${city}.`; },
    },
  }],
});
found.tools = { last: await runner.finalContent(), called };

const streamed = client.chat.completions.stream({ model, messages: user("How is it in both?"), tools });
const calls = [];
streamed.on("tool_calls.function.arguments.done", (one) => calls.push([one.name, JSON.parse(one.arguments)]));
await streamed.finalChatCompletion();
found.streamed_calls = calls;

const parsed = await client.chat.completions.parse({
  model, messages: user("x"), response_format: zodResponseFormat(Weather, "weather"),
});
found.parsed = parsed.choices[0].message.parsed;

const url = `data:image/png;base64,${picture}`;
const seen = await client.chat.completions.create({
  model, messages: user([{ type: "text", text: "What?" }, { type: "image_url", image_url: { url } }]),
  logprobs: true, top_logprobs: 2,
});
found.image = { content: seen.choices[0].message.content, length: url.length };
found.logprobs = seen.choices[0].logprobs.content.map((one) => one.token).join("");

const response = await client.responses.create({
  model, input: "Please think. How is it in both?", reasoning: { effort: "high", summary: "auto" },
  tools: [{ type: "function", name: "weather", parameters, strict: false }],
});
found.response = response.output.map((one) => [one.type, one.call_id ?? one.summary?.[0]?.text ?? null]);
const answered = await client.responses.create({
  model,
  input: [
    ...user("How is it in both?"), ...response.output,
    ...response.output.filter((one) => one.type === "function_call").map((one) => (
      { type: "function_call_output", call_id: one.call_id, output: "Snow." })),
  ],
});
found.response_after_tools = answered.output_text;

const events = [];
const live = client.responses.stream({
  model, input: "x", text: { format: zodTextFormat(Weather, "weather") },
});
for await (const event of live) events.push(event.type);
found.response_stream = { events, parsed: (await live.finalResponse()).output_parsed };

found.models = (await gathered(client.models.list())).map((one) => one.id);

const error = async (promise) => {
  try {
    await promise;
    return null;
  } catch (failure) {
    return { kind: failure.constructor.name, status: failure.status ?? null, code: failure.code ?? null };
  }
};
found.errors = {
  name: await error(client.chat.completions.create({ model: "nobody", messages: user("x") })),
  type: await error(client.chat.completions.create({ model: "coder", messages: [{ role: "user", content: 5 }] })),
  kept: await error(client.responses.create({ model, input: "x", previous_response_id: "resp_1" })),
  busy: await error(client.chat.completions.create({ model, messages: user("be busy") })),
  late: await error(client.chat.completions.create({ model, messages: user("wait for ever") }, { timeout: 300 })),
};

const aborting = new AbortController();
const endless = await client.chat.completions.create(
  { model, messages: user("wait for ever"), stream: true }, { signal: aborting.signal },
);
for await (const chunk of endless) {
  if (chunk.choices[0].delta.content) aborting.abort();
}
found.aborted = true;
console.log(JSON.stringify(found));
