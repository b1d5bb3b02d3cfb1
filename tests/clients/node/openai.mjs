// OpenAI's Node client on both of its APIs: what it made of each scenario, as one JSON object from
// subject to scenario to outcome. The pytest test beside it judges.
import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { failing, gathered, play, timed } from './playing.mjs';

const { BASE_URL, TEST_KEY, FAULTY_URL, LIVE_KEY } = process.env;
const subjects = JSON.parse(process.env.SUBJECTS);
const faults = JSON.parse(process.env.FAULTS);
const CLASSES = ['AuthenticationError', 'PermissionDeniedError', 'BadRequestError', 'NotFoundError', 'RateLimitError', 'InternalServerError'];
const client = (apiKey, maxRetries = 0, url = BASE_URL) => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries });
const parameters = { type: 'object', properties: { city: { type: 'string', enum: ['Oslo'] } }, required: ['city'] };
const Weather = z.object({ city: z.string(), rain: z.boolean() });
const described = (error) => ({
  status: error.status ?? null,
  isApiError: error instanceof OpenAI.APIError,
  classes: CLASSES.filter((name) => error instanceof OpenAI[name]),
  type: error.type ?? null,
  code: error.code ?? null,
  requestID: error.requestID ?? null,
});
const messages = (content) => [{ role: 'user', content }];

const chat = {
  create: (c, model, content, more = {}) => c.chat.completions.create({ model, messages: messages(content), ...more }),
  async text(c, model, content) {
    const answer = await this.create(c, model, content);
    return { text: answer.choices[0].message.content, stop: answer.choices[0].finish_reason, requestID: answer._request_id };
  },
  async streamed(c, model, content, seen) {
    for await (const chunk of await this.create(c, model, content, { stream: true })) seen.push(chunk.choices[0]?.delta.content ?? '');
  },
  async tools(c, model) {
    const tools = [{ type: 'function', function: { name: 'get_weather', parameters } }];
    const first = await this.create(c, model, 'hello there', { tools });
    const [call] = first.choices[0].message.tool_calls;
    const result = { role: 'tool', tool_call_id: call.id, content: 'rain' };
    const turns = [...messages('hello there'), first.choices[0].message, result];
    const second = await c.chat.completions.create({ model, tools, messages: turns });
    const stream = c.chat.completions.stream({ model, tools, messages: messages('hello there') });
    const final = await stream.finalChatCompletion();
    const [streamed] = final.choices[0].message.tool_calls;
    return { input: JSON.parse(call.function.arguments), streamed: JSON.parse(streamed.function.arguments), text: second.choices[0].message.content };
  },
  async parsed(c, model) {
    const answer = await c.chat.completions.parse({ model, messages: messages('hi'), response_format: zodResponseFormat(Weather, 'weather') });
    return answer.choices[0].message.parsed;
  },
  async thought(c, model) {
    const answer = await this.create(c, model, 'hello there', { reasoning_effort: 'low' });
    return { text: answer.choices[0].message.content, tokens: answer.usage.completion_tokens_details.reasoning_tokens };
  },
};

const responses = {
  create: (c, model, input, more = {}) => c.responses.create({ model, input, ...more }),
  async text(c, model, content) {
    const answer = await this.create(c, model, content);
    return { text: answer.output_text, stop: answer.status === 'completed' ? 'stop' : answer.status, requestID: answer._request_id };
  },
  async streamed(c, model, content, seen) {
    for await (const event of await this.create(c, model, content, { stream: true })) {
      if (event.type === 'response.output_text.delta') seen.push(event.delta);
      // The provider's own error is an event to this client; it must not look like an end.
      if (event.type === 'error') throw new OpenAI.APIError(undefined, event, event.message, undefined);
    }
  },
  async tools(c, model) {
    const tools = [{ type: 'function', name: 'get_weather', parameters, strict: false }];
    const first = await this.create(c, model, 'hello there', { tools });
    const call = first.output.find((item) => item.type === 'function_call');
    const result = { type: 'function_call_output', call_id: call.call_id, output: 'rain' };
    const second = await this.create(c, model, [...messages('hello there'), ...first.output, result], { tools });
    const stream = c.responses.stream({ model, input: 'hello there', tools });
    const final = await stream.finalResponse();
    const streamed = final.output.find((item) => item.type === 'function_call');
    return { input: JSON.parse(call.arguments), streamed: JSON.parse(streamed.arguments), text: second.output_text };
  },
  async parsed(c, model) {
    const answer = await c.responses.parse({ model, input: 'hi', text: { format: zodTextFormat(Weather, 'weather') } });
    return answer.output_parsed;
  },
  async thought(c, model) {
    const answer = await this.create(c, model, 'hello there', { reasoning: { effort: 'low', summary: 'auto' } });
    return { text: answer.output_text, tokens: answer.usage.output_tokens_details.reasoning_tokens };
  },
};

const scenarios = (api, { key, model }) => {
  const of = (behaviour) => model.replace('*', behaviour);
  const refused = (behaviour) => failing(() => api.text(client(key), of(behaviour), 'hi'), described);
  return {
    create: () => api.text(client(key), of('echo'), 'hello there'),
    stream: () => gathered((seen) => api.streamed(client(key), of('lorem'), '7', seen), described),
    tools: () => api.tools(client(key), of('tool')),
    parsed: () => api.parsed(client(key), of('echo')),
    thought: () => api.thought(client(key), of('echo')),
    refused: () => refused('error-upstream_bad_request'),
    limited: () => refused('error-upstream_rate_limited'),
    overloaded: () => refused('error-upstream_overloaded'),
    midstreamError: () => gathered((seen) => api.streamed(client(key), of('error-midstream_overloaded'), 'hi', seen), described),
    midstreamCut: () => gathered((seen) => api.streamed(client(key), of('error-midstream_cut'), 'hi', seen), described),
  };
};

const own = (api) => ({
  unknownKey: () => failing(() => api.text(client('nobody'), 'sandbox-echo', 'hi'), described),
  unknownModel: () => failing(() => api.text(client(TEST_KEY), 'sandbox-none', 'hi'), described),
  noCredits: () => failing(() => api.text(client(TEST_KEY), 'sandbox-error-credits_exhausted', 'hi'), described),
  bug: () => failing(() => api.text(client(TEST_KEY), 'sandbox-error-internal_error', 'hi'), described),
  retriedAsAsked: () => timed(() => api.text(client(TEST_KEY, 1), 'sandbox-error-rate_limited', 'hi'), described),
  notRetried: () => timed(() => api.text(client(TEST_KEY, 2), 'sandbox-error-credits_exhausted', 'hi'), described),
});

const faulty = (api) =>
  Object.fromEntries(
    faults.map((model) => [model, () => gathered((seen) => api.streamed(client(LIVE_KEY, 0, FAULTY_URL), model, 'hi', seen), described)]),
  );

const apis = { chat, responses };
const found = {};
for (const subject of subjects) found[`${subject.api} ${subject.model}`] = await play(scenarios(apis[subject.api], subject));
for (const api of ['chat', 'responses']) {
  found[`${api} gateway`] = await play(own(apis[api]));
  found[`${api} faulty`] = await play(faulty(apis[api]));
}
console.log(JSON.stringify(found));
