// Vercel's AI SDK with its providers for OpenAI's responses and for Anthropic's messages.
// Prints what they understood as one JSON document. Arguments: address, model, a picture in base64.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [address, model, picture] = process.argv.slice(2);
const openai = createOpenAI({ baseURL: `${address}/v1`, apiKey: "any" });
const anthropic = createAnthropic({ baseURL: `${address}/v1`, apiKey: "any" });
const Weather = z.object({ city: z.string(), degrees: z.number() });
const found = {};

const dialects = {
  // Nothing is kept by Ansambl, so the client sends all of it each time.
  responses: {
    model: openai.responses(model),
    providerOptions: { openai: { store: false, reasoningSummary: "auto", forceReasoning: true, strictJsonSchema: true } },
  },
  messages: {
    model: anthropic(model), maxOutputTokens: 2000,
    providerOptions: { anthropic: { thinking: { type: "enabled", budgetTokens: 1024 } } },
  },
};
for (const [name, options] of Object.entries(dialects)) {
  const asked = { ...options, maxRetries: 0 };
  const called = [];
  const weather = tool({
    description: "Tells the weather.",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => { called.push(city); return `Snow in ${city}.`; },
  });
  const whole = await generateText({ ...asked, prompt: "Please think, по-русски" });
  const stream = streamText({ ...asked, prompt: "Please think, по-русски" });
  for await (const part of stream.fullStream) if (part.type === "error") throw part.error;
  const looped = streamText({
    ...asked, prompt: "Please think. How is it in both?", tools: { weather }, stopWhen: stepCountIs(3),
  });
  for await (const part of looped.fullStream) if (part.type === "error") throw part.error;
  const seen = await generateText({
    ...asked,
    messages: [{
      role: "user",
      content: [{ type: "text", text: "What?" }, { type: "file", mediaType: "image/png", data: picture }],
    }],
  });
  found[name] = {
    text: whole.text, thoughts: whole.reasoningText, usage: whole.usage, reason: whole.finishReason,
    streamed: { text: await stream.text, thoughts: await stream.reasoningText, usage: await stream.usage },
    tools: { called, text: await looped.text, steps: (await looped.steps).length },
    object: (await generateText({ ...asked, prompt: "x", output: Output.object({ schema: Weather }) })).output,
    image: seen.text,
  };
}
console.log(JSON.stringify(found));
