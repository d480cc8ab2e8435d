// Vercel's AI SDK with its provider for OpenAI-compatible services.
// Prints what it understood as one JSON document. Arguments: address, model, a picture in base64.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [address, model, picture] = process.argv.slice(2);
const provider = createOpenAICompatible({
  name: "ansambl", baseURL: `${address}/v1`, apiKey: "any", includeUsage: true, supportsStructuredOutputs: true,
});
const asked = { model: provider(model), maxRetries: 0 };
const Weather = z.object({ city: z.string(), degrees: z.number() });
const found = {};

const whole = await generateText({ ...asked, prompt: "Please think." });
found.text = { text: whole.text, thoughts: whole.reasoningText, reason: whole.finishReason, usage: whole.usage };

const stream = streamText({ ...asked, prompt: "Please think, по-русски" });
const kinds = [];
for await (const part of stream.fullStream) {
  if (part.type === "error") throw part.error;
  if (kinds.at(-1) !== part.type) kinds.push(part.type);
}
found.stream = {
  text: await stream.text, thoughts: await stream.reasoningText, kinds, usage: await stream.usage,
};

const called = [];
const weather = tool({
  description: "Tells the weather.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => { called.push(city); return `Snow in ${city}.`; },
});
const looped = await generateText({
  ...asked, prompt: "How is it in both?", tools: { weather }, stopWhen: stepCountIs(3), toolChoice: "auto",
});
found.tools = { called: [...called], text: looped.text, steps: looped.steps.length };

const live = streamText({ ...asked, prompt: "How is it in both?", tools: { weather }, stopWhen: stepCountIs(3) });
await live.consumeStream();
found.streamed_tools = { text: await live.text, calls: (await live.steps)[0].toolCalls.map((one) => one.input) };

found.object = (await generateText({ ...asked, prompt: "x", output: Output.object({ schema: Weather }) })).output;
const streamed = streamText({ ...asked, prompt: "x", output: Output.object({ schema: Weather }) });
found.streamed_object = await streamed.output;

const seen = await generateText({
  ...asked,
  messages: [{
    role: "user",
    content: [{ type: "text", text: "What?" }, { type: "file", mediaType: "image/png", data: picture }],
  }],
});
found.image = { text: seen.text, length: `data:image/png;base64,${picture}`.length };

const error = async (promise) => {
  try {
    await promise;
    return null;
  } catch (failure) {
    return {
      api: APICallError.isInstance(failure), status: failure.statusCode ?? null, retry: failure.isRetryable ?? null,
      message: failure.message,
    };
  }
};
found.errors = {
  name: await error(generateText({ ...asked, model: provider("nobody"), prompt: "x" })),
  busy: await error(generateText({ ...asked, prompt: "be busy" })),
};

const aborting = new AbortController();
const endless = streamText({ ...asked, prompt: "wait for ever", abortSignal: aborting.signal });
for await (const part of endless.fullStream) {
  if (part.type === "text-delta") aborting.abort();
  if (part.type === "abort") found.aborted = true;
}
console.log(JSON.stringify(found));
