// Vercel's AI SDK over each wire: what it made of each scenario, as one JSON object from subject to
// scenario to outcome. The pytest test beside it judges.
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { APICallError, Output, RetryError, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';
import { failing, gathered, play, timed } from './playing.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false;
const { BASE_URL, TEST_KEY, FAULTY_URL, LIVE_KEY } = process.env;
const subjects = JSON.parse(process.env.SUBJECTS);
const faults = JSON.parse(process.env.FAULTS);
const settings = (apiKey, url = BASE_URL) => ({ baseURL: `${url}/v1`, apiKey });
const WIRES = {
  messages: (key, model, url) => createAnthropic(settings(key, url))(model),
  chat: (key, model, url) => createOpenAI(settings(key, url)).chat(model),
  responses: (key, model, url) => createOpenAI(settings(key, url)).responses(model),
};
const THINK = {
  messages: { anthropic: { thinking: { type: 'enabled', budgetTokens: 1024 } } },
  chat: { openai: { reasoningEffort: 'low' } },
  responses: { openai: { reasoningEffort: 'low', reasoningSummary: 'auto', store: false, include: ['reasoning.encrypted_content'], forceReasoning: true } },
};
const described = (error) => {
  const last = RetryError.isInstance(error) ? error.lastError : error;
  return {
    retries: RetryError.isInstance(error) ? error.errors.length - 1 : 0,
    isApiError: APICallError.isInstance(last),
    status: last.statusCode ?? null,
    retryable: last.isRetryable ?? null,
    message: String(last.message),
  };
};
const getWeather = tool({
  description: 'The weather.',
  inputSchema: z.object({ city: z.enum(['Oslo']) }),
  execute: async ({ city }) => `rain in ${city}`,
});

async function streamed(model, prompt, seen, more = {}) {
  const result = streamText({ model, prompt, maxRetries: 0, onError: () => {}, ...more });
  for await (const part of result.fullStream) {
    if (part.type === 'error') throw part.error;
    if (part.type === 'text-delta') seen.push(part.text);
  }
}

const scenarios = ({ api, key, model }) => {
  const of = (behaviour) => WIRES[api](key, model.replace('*', behaviour));
  const say = (behaviour, more = {}) => generateText({ model: of(behaviour), prompt: 'hello there', maxRetries: 0, ...more });
  const refused = (behaviour, maxRetries = 0) => failing(() => say(behaviour, { maxRetries }), described);
  return {
    async create() {
      const { text, finishReason, usage } = await say('echo');
      return { text, stop: finishReason, tokens: [usage.inputTokens, usage.outputTokens] };
    },
    stream: () => gathered((seen) => streamed(of('lorem'), '7', seen), described),
    async tools() {
      const { text, steps } = await say('tool', { tools: { getWeather }, stopWhen: stepCountIs(3) });
      return { text, steps: steps.length, input: steps[0].toolCalls[0]?.input, output: steps[0].toolResults[0]?.output };
    },
    async streamedTools() {
      const result = streamText({ model: of('tool'), prompt: 'hello there', tools: { getWeather }, stopWhen: stepCountIs(3), maxRetries: 0 });
      return { text: await result.text, steps: (await result.steps).length };
    },
    async structured() {
      const { output } = await say('echo', { output: Output.object({ schema: z.object({ city: z.string(), rain: z.boolean() }) }) });
      return output;
    },
    async thought() {
      const { text, reasoningText, usage } = await say('echo', { providerOptions: THINK[api] });
      return { text, reasoning: reasoningText ?? null, tokens: usage.outputTokenDetails?.reasoningTokens ?? null };
    },
    async thoughtBetweenTools() {
      const { text, steps } = await say('tool', { tools: { getWeather }, stopWhen: stepCountIs(3), providerOptions: THINK[api] });
      return { text, steps: steps.length };
    },
    async conversation() {
      const store = { providerOptions: { openai: { store: false } } };
      const first = await say('tool', { tools: { getWeather }, stopWhen: stepCountIs(3), ...store });
      const messages = [{ role: 'user', content: 'hello there' }, ...first.response.messages, { role: 'user', content: 'again' }];
      const { text } = await generateText({ model: of('echo'), messages, maxRetries: 0, ...store });
      return text;
    },
    refused: () => refused('error-upstream_bad_request'),
    limited: () => refused('error-upstream_rate_limited'),
    overloaded: () => refused('error-upstream_overloaded'),
    midstreamError: () => gathered((seen) => streamed(of('error-midstream_overloaded'), 'hi', seen), described),
    midstreamCut: () => gathered((seen) => streamed(of('error-midstream_cut'), 'hi', seen), described),
  };
};

const own = (api) => {
  const say = (key, model, maxRetries = 0) => generateText({ model: WIRES[api](key, model), prompt: 'hi', maxRetries });
  return {
    unknownKey: () => failing(() => say('nobody', 'sandbox-echo'), described),
    unknownModel: () => failing(() => say(TEST_KEY, 'sandbox-none'), described),
    noCredits: () => failing(() => say(TEST_KEY, 'sandbox-error-credits_exhausted'), described),
    bug: () => failing(() => say(TEST_KEY, 'sandbox-error-internal_error'), described),
    retriedAsAsked: () => timed(() => say(TEST_KEY, 'sandbox-error-rate_limited', 1), described),
  };
};

const faulty = (api) =>
  Object.fromEntries(
    faults.map((model) => [model, () => gathered((seen) => streamed(WIRES[api](LIVE_KEY, model, FAULTY_URL), 'hi', seen), described)]),
  );

const found = {};
for (const subject of subjects) found[`${subject.api} ${subject.model}`] = await play(scenarios(subject));
for (const api of Object.keys(WIRES)) {
  found[`${api} gateway`] = await play(own(api));
  found[`${api} faulty`] = await play(faulty(api));
}
console.log(JSON.stringify(found));
