// npm's OpenAI client and Vercel's AI SDK against a real small model: what they say of the same request.
// Prints it as one JSON document. Arguments: address, model.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, Output, streamText } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const [address, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: "any" });
const provider = createOpenAICompatible({
  name: "ansambl", baseURL: `${address}/v1`, apiKey: "any", includeUsage: true, supportsStructuredOutputs: true,
});
const prompt = "Write one sentence about the sea.";
const asked = { model, messages: [{ role: "user", content: prompt }], temperature: 0, seed: 1, max_tokens: 24 };
const found = { texts: [], tokens: [] };

const whole = await client.chat.completions.create(asked);
found.texts.push(whole.choices[0].message.content);
found.tokens.push(whole.usage.completion_tokens);
let words = "";
let usage = null;
for await (const chunk of await client.chat.completions.create(
  { ...asked, stream: true, stream_options: { include_usage: true } })) {
  words += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
found.texts.push(words);
found.tokens.push(usage.completion_tokens);

const settings = { model: provider(model), prompt, temperature: 0, seed: 1, maxOutputTokens: 24 };
const text = await generateText(settings);
found.texts.push(text.text);
found.tokens.push(text.usage.outputTokens);
const stream = streamText(settings);
found.texts.push(await stream.text);
found.tokens.push((await stream.usage).outputTokens);

const schema = z.object({ city: z.enum(["Omsk", "Paris"]), degrees: z.number().int().min(0).max(9) });
found.object = (await generateText({
  ...settings, maxOutputTokens: 60, prompt: "The weather in Omsk.", output: Output.object({ schema }),
})).output;
console.log(JSON.stringify(found));
