"""A provider that says what it is told to: a real HTTP server that streams OpenAI's chat completions from scripts.

`python -m bench.provider --port 0` prints `{"port": N}` once it listens. It is driven over HTTP, so that a test in one
process can direct what servers in other processes get to hear:

- `POST /script` with `{"default": script, "named": {name: script}, "queue": [script, …], "strict": bool}`, each part
  optional. A request takes the script whose `[[name]]` stands in its last user message, else the next of the queue,
  else the default.
- `GET /log?wait_for=N&timeout=S&ended=1` gives what was asked and how each request ended, once there are N of them.
- `POST /gate/<name>` opens a gate that scripts wait for; `POST /reset` forgets everything and opens every gate.

A script is a list of steps, or a list of such lists, one per hop after the last user message (the last one repeats).
Instead of a list a hop may be `{"tries": [steps, …]}`: what is said in the first try of the call, in the second, and so
on, as the number tells with which `X-Client-Request-Id` ends.
A step is an object with one verb:

| step | does |
|---|---|
| `{"text": s}`, `{"reasoning": s}`, `{"refusal": s}` | a fragment |
| `{"reasoning": s, "field": "reasoning"}` | under the other name for it |
| `{"words": N, "rate": R, "stamped": b, "start": n}` | `w0001 w0002 …` at R a second; stamped: `w0001@<epoch µs> ` |
| `{"halves": s}` | each character as escaped surrogates, high and low half in two chunks |
| `{"tool": {"index", "id", "name", "arguments"}}` | a fragment of a call, with the fields that are given |
| `{"message": {…}}` | a whole message where a delta should be |
| `{"chunk": {…}}`, `{"raw": s}`, `{"comment": s}` | a chunk, bytes, a comment, as they are |
| `{"finish": reason}` | the finish reason; with `"usage": {…}` beside it, in the same chunk |
| `{"usage": {…}, "where": w}` | `empty_choices` (default), `with_delta`, or `in_choice`; null: none at all |
| `{"error_event": {…}}` | an error in the stream, and its end |
| `{"status": N, "headers": {…}, "body": …}` | an answer that is no stream, and the end |
| `{"open": true}` | the headers now, without a token |
| `{"pause": s}`, `{"silence": s}`, `{"gate": name}` | wait |
| `{"split_bytes": true}` | from here on every byte is a chunk of its own |
| `{"close": true}` | the end of the body here: no finish reason, no `[DONE]` |
| `{"reset": true}` | the connection breaks (TCP RST); as the first step, before any answer |

Where a script just ends, what is missing of finish reason, usage (if it was asked for) and `[DONE]` is supplied.
"""
