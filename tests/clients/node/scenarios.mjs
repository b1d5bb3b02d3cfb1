// Runs every scenario against the gateway at BASE_URL and prints what the client made of it: one JSON
// object, scenario to outcome. The pytest test beside it judges.
import Anthropic from '@anthropic-ai/sdk';

const { BASE_URL, TEST_KEY, LIVE_KEY, LIVE_MODEL, CUT_MODEL } = process.env;
const messages = [{ role: 'user', content: 'hello there' }];
const base = { model: 'sandbox-echo', max_tokens: 64, messages };
const tools = [
  {
    name: 'get_weather',
    input_schema: { type: 'object', properties: { city: { type: 'string', enum: ['Oslo'] } }, required: ['city'] },
  },
];
const client = (apiKey = TEST_KEY, maxRetries = 0) => new Anthropic({ baseURL: BASE_URL, apiKey, maxRetries });
const texts = (message) => message.content.filter((block) => block.type === 'text').map((block) => block.text);

async function failing(work) {
  try {
    await work();
    return { raised: false };
  } catch (error) {
    return {
      raised: true,
      status: error.status ?? null,
      isApiError: error instanceof Anthropic.APIError,
      classes: ['AuthenticationError', 'PermissionDeniedError', 'BadRequestError', 'NotFoundError', 'RateLimitError', 'InternalServerError']
        .filter((name) => error instanceof Anthropic[name]),
      type: error.error?.error?.type ?? null,
      requestID: error.requestID ?? null,
    };
  }
}

const refused = (model, apiKey = TEST_KEY) =>
  failing(() => client(apiKey).messages.create({ ...base, model }));

async function interrupted(model, apiKey) {
  const seen = [];
  const outcome = await failing(async () => {
    const stream = await client(apiKey).messages.create({ ...base, model, stream: true });
    for await (const event of stream) seen.push(event.type);
  });
  return { ...outcome, seen };
}

async function timed(work) {
  const began = performance.now();
  return { ...(await failing(work)), seconds: (performance.now() - began) / 1000 };
}

const scenarios = {
  async create() {
    const { data, request_id } = await client().messages.create(base).withResponse();
    return { texts: texts(data), stop: data.stop_reason, usage: data.usage, requestID: request_id };
  },
  async live() {
    const answer = await client(LIVE_KEY).messages.create({ ...base, model: LIVE_MODEL });
    return { id: answer.id };
  },
  async stream() {
    const pieces = [];
    const stream = client().messages.stream({ ...base, model: 'sandbox-lorem', messages: [{ role: 'user', content: '7' }] });
    stream.on('text', (text) => pieces.push(text));
    const final = await stream.finalMessage();
    return { pieces: pieces.length, text: pieces.join(''), stop: final.stop_reason };
  },
  async tools() {
    const first = await client().messages.create({ ...base, model: 'sandbox-tool', tools });
    const use = first.content.find((block) => block.type === 'tool_use');
    const result = { type: 'tool_result', tool_use_id: use.id, content: 'rain' };
    const second = await client().messages.create({
      ...base,
      model: 'sandbox-tool',
      tools,
      messages: [...messages, { role: 'assistant', content: first.content }, { role: 'user', content: [result] }],
    });
    return { stop: first.stop_reason, name: use.name, input: use.input, texts: texts(second) };
  },
  async streamedTool() {
    const stream = client().messages.stream({ ...base, model: 'sandbox-tool', tools });
    const final = await stream.finalMessage();
    return { input: final.content.find((block) => block.type === 'tool_use').input };
  },
  async image() {
    const source = { type: 'base64', media_type: 'image/png', data: 'iVBORw0KGgo=' };
    const content = [{ type: 'image', source }, { type: 'text', text: 'What is this?' }];
    const answer = await client().messages.create({ ...base, messages: [{ role: 'user', content }] });
    return { texts: texts(answer), tokens: answer.usage.input_tokens };
  },
  async count() {
    return await client().messages.countTokens({ model: 'sandbox-echo', messages });
  },
  unknownKey: () => refused('sandbox-echo', 'nobody'),
  premium: () => refused('premium-model', LIVE_KEY),
  unknownModel: () => refused('no-such-model', LIVE_KEY),
  noCredits: () => refused('sandbox-error-credits_exhausted'),
  limited: () => refused('sandbox-error-rate_limited'),
  bug: () => refused('sandbox-error-internal_error'),
  overloaded: () => refused('sandbox-error-upstream_overloaded'),
  emptyBody: () => refused('sandbox-error-empty_body'),
  unknownPath: () => failing(() => client().get("/v1/messages/nothing")),
  midstreamError: () => interrupted('sandbox-error-midstream_overloaded', TEST_KEY),
  midstreamCut: () => interrupted('sandbox-error-midstream_cut', TEST_KEY),
  liveMidstreamCut: () => interrupted(CUT_MODEL, LIVE_KEY),
  retriedAsAsked: () => timed(() => client(TEST_KEY, 1).messages.create({ ...base, model: 'sandbox-error-rate_limited' })),
  notRetried: () => timed(() => client(TEST_KEY, 2).messages.create({ ...base, model: 'sandbox-error-credits_exhausted' })),
  async leaves() {
    const controller = new AbortController();
    const stream = await client().messages.create(
      { ...base, model: 'sandbox-lorem', max_tokens: 999, messages: [{ role: 'user', content: '400' }], stream: true },
      { signal: controller.signal },
    );
    let seen = 0;
    for await (const event of stream) {
      if (event.type === 'content_block_delta' && ++seen === 3) controller.abort();
    }
    return { seen, after: texts(await client().messages.create(base)) };
  },
};

const outcomes = {};
for (const [name, run] of Object.entries(scenarios)) {
  try {
    outcomes[name] = await run();
  } catch (error) {
    outcomes[name] = { broken: String(error?.stack ?? error) };
  }
}
console.log(JSON.stringify(outcomes));
