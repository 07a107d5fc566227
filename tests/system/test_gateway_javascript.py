"""OpenAI's client for JavaScript, as it is, at real servers; what its page shows, the page's test tries."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.client import Client
from tests.node import NODE, OPENAI_JS
from tests.provider import ProviderProcess

SCRIPTS: Any = {
    "tool": [{"text": "Let me see."}, {"tool": {"index": 0, "id": "c0", "name": "look_up", "arguments": '{"q": 1}'}}],
    "breaks-off": [{"text": "Good "}, {"close": True}],
    "limited": [{"status": 429, "headers": {"Retry-After": "60"}, "body": {}}],
    "away": [{"status": 500, "headers": {"Retry-After": "60"}, "body": {}}],
}
PROGRAM = """
import OpenAI from %(package)s;

const { url, key } = JSON.parse(process.argv[2]);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const asks = (text, more = {}) => ({ model: "openai", messages: [{ role: "user", content: text }], ...more });
const tools = [{ type: "function", function: { name: "look_up", parameters: { type: "object" } } }];

async function refusal(request, options) {
  try {
    const answer = await client.chat.completions.create(request, options);
    for await (const chunk of answer) chunk;
  } catch (error) {
    const kind = Object.keys(OpenAI).find((name) => OpenAI[name] === error.constructor);
    return [kind, error.status ?? null, error.code];
  }
}

const stream = client.chat.completions.stream(asks("[[tool]]", { tools, stream_options: { include_usage: true } }));
const streamed = await stream.finalChatCompletion();
const whole = await client.chat.completions.create(asks("[[tool]]", { tools }));
const same = { headers: { "Idempotency-Key": "once" } };
await client.chat.completions.create(asks("[[tool]]"), same);
console.log(JSON.stringify({
  message: streamed.choices[0].message,
  reason: streamed.choices[0].finish_reason,
  usage: streamed.usage.total_tokens === streamed.usage.prompt_tokens + streamed.usage.completion_tokens,
  calls: whole.choices[0].message.tool_calls,
  refused: [
    await refusal(asks("Hi", { n: 2 })),
    await refusal(asks("Hi", { model: "none" })),
    await refusal(asks("Another"), same),
    await refusal(asks("[[limited]]", { stream: true })),
    await refusal(asks("[[away]]", { stream: true })),
    await refusal(asks("[[breaks-off]]", { stream: true })),
  ],
}));
"""


def test_streams_tools_usage_and_errors_are_what_the_client_takes_them_for(
    client: Client, provider: ProviderProcess
) -> None:
    provider.script(named=SCRIPTS)
    program = PROGRAM % {"package": json.dumps(OPENAI_JS.as_uri())}
    given = json.dumps({"url": client.url, "key": client.key})

    done = subprocess.run(
        [NODE, "--input-type=module", "-", given], input=program, capture_output=True, text=True, timeout=120
    )

    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    calls = [{"id": "c0", "type": "function", "function": {"name": "look_up", "arguments": '{"q": 1}'}}]
    assert (told["message"]["content"], told["reason"], told["usage"]) == ("Let me see.", "tool_calls", True)
    assert told["calls"] == calls
    assert [each["function"]["name"] for each in told["message"]["tool_calls"]] == ["look_up"]
    assert told["refused"] == [
        ["BadRequestError", 400, "invalid_value"],
        ["NotFoundError", 404, "model_not_found"],
        ["UnprocessableEntityError", 422, "request_conflict"],
        ["RateLimitError", 429, "rate_limit_exceeded"],
        ["InternalServerError", 503, "unavailable"],
        ["APIError", None, "truncated"],
    ]
