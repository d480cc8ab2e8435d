// The official npm client of Anthropic against a model that calls tools, thinks and looks at images.
// Prints what it understood as one JSON document. Arguments: address, model, a picture in base64.
import Anthropic from "@anthropic-ai/sdk";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { z } from "zod";

const [address, model, picture] = process.argv.slice(2);
const client = new Anthropic({ baseURL: address, apiKey: "any", maxRetries: 0, timeout: 20_000 });
const input_schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ name: "weather", description: "Tells the weather.", input_schema }];
const asked = (content, more = {}) => ({ model, max_tokens: 200, messages: [{ role: "user", content }], ...more });
const found = {};

const stream = client.messages.stream(asked("Please think aloud. In both?", { tools }));
const kinds = [];
for await (const event of stream) kinds.push(event.type);
const message = await stream.finalMessage();
found.stream = { kinds, blocks: message.content.map((one) => [one.type, one.thinking ?? one.text ?? one.input]) };
found.usage = message.usage;

const called = [];
const last = await client.beta.messages.toolRunner({
  ...asked("How is it in both?"),
  tools: [betaZodTool({
    name: "weather", description: "Tells the weather.", inputSchema: z.object({ city: z.string() }),
    run: ({ city }) => { called.push(city); return `Snow in ${city}.`; },
  })],
});
found.tools = { called, text: last.content[0].text };

const Weather = z.object({ city: z.string(), degrees: z.number() });
const parsed = await client.messages.parse(asked("x", { output_config: { format: zodOutputFormat(Weather) } }));
found.parsed = parsed.parsed_output;

const source = { type: "base64", media_type: "image/png", data: picture };
const seen = await client.messages.create(asked([{ type: "text", text: "What?" }, { type: "image", source }]));
found.image = seen.content[0].text;

const error = async (promise) => {
  try {
    await promise;
    return null;
  } catch (failure) {
    return { kind: failure.constructor.name, status: failure.status ?? null };
  }
};
found.errors = {
  name: await error(client.messages.create({ ...asked("x"), model: "nobody" })),
  busy: await error(client.messages.create(asked("be busy"))),
  late: await error(client.messages.create(asked("wait for ever"), { timeout: 300 })),
};

const endless = client.messages.stream(asked("wait for ever"));
endless.on("text", () => endless.abort());
found.aborted = await error(endless.finalMessage());
console.log(JSON.stringify(found));
