"""The demo model's own words."""

from __future__ import annotations

GREETING = """\
Hello! I am the **demo model**: no key, no network, just a script with good manners.

Ask me *what time it is in Tokyo*, or what `17 * 23` is, and watch me use a tool. Or ask what **Verbatim** can do."""

THANKS = "You're welcome! It is all in the log now, word for word. Anything else I can show you?"

BYE = "Goodbye! Close the tab whenever you like, even in the middle of a sentence: I will finish it without you."

HELP = """\
## What you are looking at

This is **Verbatim**, a chat backend. Its promise is its name: what you saw is, word for word, what is stored, \
whatever dies in between. A few things worth trying right now:

1. **Reload this tab while I am talking.** The sentence goes on exactly where it was.
2. **Open a second tab.** Both show the same words.
3. **Press Stop** (or Esc). What I said so far is kept.
4. **Ask for the time, or a sum.** A card shows which tool I call, with what, and what came back.
5. **Say "think about it"** and I reason aloud first.
6. **Edit your message, or regenerate my answer.** Nothing is lost: you can step back to the other version.

| you do | Verbatim does |
|---|---|
| lose the connection | reconnects and continues at your last character |
| send the same request twice | answers once |
| kill the server | keeps all but the last quarter of a second |

Ask about any of them: *reload*, *stop*, *branches*, *the log*, *tools*, or *a real model*."""

RESUME = """\
### Reloading in mid-sentence

Try it while you read this: **press reload now.** You should come back to this very sentence, and it should simply \
carry on.

How that works, in three steps:

1. Every conversation has one **log**: numbered events without holes.
2. What I am saying right now is a **draft**. It goes to you at once, and to the database five times a second.
3. Your browser holds a **cursor**, such as `12.345`: all events up to number 12, and 345 characters of the draft \
after it. After a reload it says where it is and gets exactly the rest.

The turn runs in the server, *not in your connection*. You may close every tab and come back later: the answer will \
be there, complete."""

STOP = """\
### Stopping

Press **Stop** or the *Esc* key while I talk. Three things happen:

- the connection to the model is closed at once, so that nobody pays for words that nobody reads;
- what I have said so far **is kept**, and marked as stopped;
- you can go on from there, or press *retry*.

Want to try? Ask me for **something long** and stop me in the middle of it."""

BRANCHES = """\
### Second thoughts

Retry, regenerate and edit are one thing here: **a new turn beside the old one**.

- *Regenerate* asks me the same question again.
- *Edit* asks me your corrected question.
- The small arrows step between the versions.

The old version stays in the log, but it is no longer part of what I get to read: a model sees the branch that you \
see, and nothing else."""

LOG = """\
### The log

One log per conversation is the truth; everything that talks to a person is a reader of it.

| kind | says |
|---|---|
| `user_message` | what you asked |
| `assistant_message` | what I said, in one piece, with the calls I made |
| `tool_result` | what a tool answered, and how long it took |
| `turn_ended` | how it ended: completed, cancelled or failed |

Staff can read it in the **Django admin**, newest first. While I talk, the unfinished part is there too; when I end, \
it gives way to one event, in one transaction."""

TOOLS = """\
### Tools

I have two in my box: **current_time** and **calculator**. Try:

- *What time is it in New York?*
- *What is (2 + 3) * 14 / 7?*
- *What time is it in Tokyo, and what is 15% of 80?* (both at once)

A tool is a typed function. This is all it takes to add one:

```python
from tools.tool import tool


@tool
def dice(sides: int = 6) -> int:
    \"\"\"Roll a die.\"\"\"
    return random.randint(1, sides)
```

Its schema comes from the types, its description from the docstring. If it raises, hangs or returns a novel, I get an \
error that I can read, and the conversation goes on."""

REAL_MODEL = """\
### A real model

I am only the demo. For a real one, set **one** of these before you start the server:

```sh
export OPENAI_API_KEY=...                          # OpenAI itself
export OPENAI_BASE_URL=http://127.0.0.1:11434/v1   # anything that speaks its protocol, here Ollama
```

`OPENAI_MODEL` says which model, and `CHAT_MODEL` which profile is the default. I stay in the picker, for rainy days."""

CODE = """\
### A small client

Everything on this page goes over one WebSocket, in plain JSON. In Python, that is:

```python
import asyncio
import json

import websockets


async def main(conversation: str, key: str) -> None:
    url = f"ws://127.0.0.1:8000/ws/conversations/{conversation}/"
    headers = {"Authorization": f"Bearer {key}"}
    async with websockets.connect(url, additional_headers=headers) as socket:
        await socket.send(json.dumps({"type": "send", "request_id": "r1", "text": "Hello!"}))
        async for message in socket:
            frame = json.loads(message)
            if frame["type"] == "delta" and frame["channel"] == "text":
                print(frame["text"], end="", flush=True)


asyncio.run(main("<conversation>", "<key>"))
```

Each frame carries a `cursor`. Keep the last one, connect again with `?after=<cursor>`, and you have missed nothing."""

MARKDOWN = """\
### A bit of everything

Plain, **bold**, *italic*, ~~struck~~, and `code` in a line.

> A quotation, for gravity.

1. First things first
2. Then the second
   - with a detail
   - and another

| language | says hello | script |
|---|---|---|
| Thai | สวัสดี | left to right |
| Hebrew | שלום | right to left |
| Japanese | こんにちは | either way |
| Emoji | 👋🏽 | in any direction |

```json
{"kind": "assistant_message", "hop": 0, "runs": [["text", 512]]}
```

---

It is rendered while it arrives, and cleaned before it is shown."""

JOKE = """\
A message, a proxy and a load balancer walk into a bar. The bartender asks: "What will it be?"

The message says: "I'll have what I had. Exactly what I had. In the same order."

*(I am a demo model. My humour is cached.)*"""

ECHO = """\
You wrote: *{gist}*

I would love to have an opinion on that, but I am the **demo model**: I know my way around this page, and little else. \
What I can do:

- tell the **time** anywhere, or work out a **sum**, with real tools;
- **think aloud**, if you ask me to;
- show you **markdown**, **code**, or **something long** to stop or reload in;
- explain how **Verbatim** keeps every word.

With an `OPENAI_API_KEY` in the environment, a real model takes my place."""

BEFORE_TOOLS = ("Let me look that up.", "Two questions, two tools. One moment.")
"""For one call, and for more."""

TIME = "It is **{clock}** on {weekday}, {date} ({zone})."
SUM = "The result is **{result}**."
TOOL_SAID = "The tool `{name}` says: {content}"
TOOL_FAILED = "The tool `{name}` could not help: *{content}* Shall we try it differently?"

_CHAPTERS = (
    ("The order", "Somebody asks. The question is written down before anything else happens, so it cannot be lost."),
    ("The draft", "Words arrive one by one. Each goes to every reader at once, and to the database a moment later."),
    ("The cursor", "A reader is nothing but a place in the text. Whoever knows the place can read on from it."),
    ("The accident", "A cable, a laptop lid, a deploy. Something always ends too early, and it is rarely the story."),
    ("The return", "The reader comes back, says where it was, and gets the rest: no word twice, none left out."),
    (
        "The end",
        "The draft becomes one entry in the log, in one stroke. From now on it is history, and stays so.",
    ),
)


def thoughts(question: str, *, tools: list[str]) -> str:
    """Thinking aloud about a question, and about the tools it needs."""
    plan = "No tool is needed for this. I can answer from what I know: not much, so let me keep it honest and short."
    if tools:
        plan = f"I should not guess here. The right tool is {' and then '.join(tools)}."
    return (
        f'The question is: "{question}" Let me take it apart first. What is really being asked, and what would be a '
        f"useful answer? {plan} Then I check whether that answers the question as it was put. It does, I think. "
        "Let me write it down."
    )


def long_answer() -> str:
    """Something long enough to stop, reload or disconnect in."""
    parts = ["## A story in six chapters, twice\n\nTake your time. Reload, stop, or pull the plug while I go on."]
    for telling in ("told plainly", "told again, for those who reloaded"):
        parts.append(f"### {telling.capitalize()}")
        parts += [f"{number}. **{title}.** {line}" for number, (title, line) in enumerate(_CHAPTERS, start=1)]
    parts.append("And that is all. If you can read this after all you did to me, I have kept my word: *verbatim*.")
    return "\n\n".join(parts)
