"""What the demo model says: a pure function of the request, by topic."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from llm import demo_texts as texts
from llm.demo_sums import expression_in
from llm.types import ChatRequest, Message, ToolCall, ToolMessage, UserMessage

CLOCK, SUMS = "current_time", "calculator"
PLACES = {
    "amsterdam": "Europe/Amsterdam",
    "auckland": "Pacific/Auckland",
    "beijing": "Asia/Shanghai",
    "berlin": "Europe/Berlin",
    "chicago": "America/Chicago",
    "delhi": "Asia/Kolkata",
    "dubai": "Asia/Dubai",
    "lagos": "Africa/Lagos",
    "london": "Europe/London",
    "los angeles": "America/Los_Angeles",
    "madrid": "Europe/Madrid",
    "mexico": "America/Mexico_City",
    "nairobi": "Africa/Nairobi",
    "new york": "America/New_York",
    "paris": "Europe/Paris",
    "san francisco": "America/Los_Angeles",
    "sao paulo": "America/Sao_Paulo",
    "singapore": "Asia/Singapore",
    "sydney": "Australia/Sydney",
    "tokyo": "Asia/Tokyo",
    "vienna": "Europe/Vienna",
    "zurich": "Europe/Zurich",
}
_TIME = re.compile(
    r"\bwhat(?:'s| is)? (?:the )?(?:current )?(?:time|date|day)\b|\bthe time\b|\btime is it\b"
    r"|\btoday'?s date\b|\bcurrent (?:time|date)\b|\bwhich day\b",
    re.IGNORECASE,
)
_THINK = re.compile(r"\b(think|reason(ing)?|step by step|ponder|consider)\b", re.IGNORECASE)


TITLE_WORDS = 5


@dataclass(frozen=True, kw_only=True)
class DemoAnswer:
    """One hop's reply."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()


def answer(request: ChatRequest) -> DemoAnswer:
    """The reply to the last user message, or to the tool results that came after it."""
    question, results = _heard(request.messages)
    if request.usage_id == "title":
        return DemoAnswer(text=" ".join(question.split()[:TITLE_WORDS]).rstrip("?.!,;:"))
    reasoning = ""
    if results:
        return DemoAnswer(text=_about(results))
    calls = _calls(question, request=request)
    if _THINK.search(question):
        reasoning = texts.thoughts(_gist(question), tools=[call.name for call in calls])
    if calls:
        return DemoAnswer(text=texts.BEFORE_TOOLS[len(calls) > 1], reasoning=reasoning, calls=calls)
    return DemoAnswer(text=_on_topic(question), reasoning=reasoning)


def _heard(messages: tuple[Message, ...]) -> tuple[str, list[ToolMessage]]:
    """The last user message and the results of the tools that it led to."""
    results: list[ToolMessage] = []
    for message in reversed(messages):
        if isinstance(message, UserMessage):
            return message.text, results[::-1]
        if isinstance(message, ToolMessage):
            results.append(message)
    return "", results[::-1]


def _calls(question: str, *, request: ChatRequest) -> tuple[ToolCall, ...]:
    offered = set() if request.tool_choice == "none" else {tool.name for tool in request.tools}
    wanted: list[tuple[str, dict[str, str]]] = []
    if CLOCK in offered and _TIME.search(question):
        wanted.append((CLOCK, {"time_zone": _zone(question)}))
    expression = expression_in(question)
    if SUMS in offered and expression:
        wanted.append((SUMS, {"expression": expression}))
    hop = sum(1 for message in request.messages if isinstance(message, ToolMessage))
    return tuple(
        ToolCall(id=f"call_{hop + number}", name=name, arguments=json.dumps(arguments))
        for number, (name, arguments) in enumerate(wanted)
    )


def _zone(question: str) -> str:
    named = re.search(r"\b[A-Z][A-Za-z]+/[A-Z]\w+\b", question)
    if named:
        return named[0]
    words = question.lower()
    return next((zone for place, zone in PLACES.items() if re.search(rf"\b{place}\b", words)), "UTC")


def _about(results: list[ToolMessage]) -> str:
    return "\n\n".join(_about_one(result) for result in results)


def _about_one(result: ToolMessage) -> str:
    if result.is_error:
        return texts.TOOL_FAILED.format(name=result.name, content=_gist(result.content))
    if result.name == SUMS:
        return texts.SUM.format(result=_gist(result.content))
    if result.name == CLOCK:
        return _about_time(result.content)
    return texts.TOOL_SAID.format(name=result.name, content=_gist(result.content))


def _about_time(content: str) -> str:
    try:
        told = json.loads(content)
        date, _, clock = told["time"].partition("T")
        return texts.TIME.format(clock=clock[:5], weekday=told["weekday"], date=date, zone=told["time_zone"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return texts.TOOL_SAID.format(name=CLOCK, content=_gist(content))


def _on_topic(question: str) -> str:
    for pattern, text in _TOPICS:
        if re.search(pattern, question, re.IGNORECASE):
            return text if isinstance(text, str) else text()
    return texts.ECHO.format(gist=_gist(question)) if question.strip() else texts.GREETING


_TOPICS: list[tuple[str, str | Callable[[], str]]] = [
    (r"^\W*(hi|hello|hey|hallo|good (morning|evening|afternoon)|bonjour|hola)\b[^?]{0,30}$", texts.GREETING),
    (r"^\W*(thanks?|thank you|cheers|great|nice|cool)\b.{0,40}$", texts.THANKS),
    (r"\b(bye|goodbye|see you)\b", texts.BYE),
    (r"\b(long|lots of text|count to)\b", texts.long_answer),
    (r"\b(real model|openai|api key|ollama|provider|which model|what model)\b", texts.REAL_MODEL),
    (r"\b(reload|refresh|resume|second tab|two tabs|crash|kill|disconnect|offline)\b", texts.RESUME),
    (r"\b(stop|cancel|interrupt)\b", texts.STOP),
    (r"\b(edit|regenerate|retry|branch)\b", texts.BRANCHES),
    (r"\b(admin|log|events?|stored|database)\b", texts.LOG),
    (r"\b(tools?|functions?|calculator)\b", texts.TOOLS),
    (r"\b(code|python|snippet|example|websocket|api)\b", texts.CODE),
    (r"\b(markdown|table|format(ting)?|list)\b", texts.MARKDOWN),
    (
        r"\b(help|verbatim|features?|who are you|what can you|what are you|what is this|how do(es)? (this|you|it))\b",
        texts.HELP,
    ),
    (r"\b(joke|funny)\b", texts.JOKE),
]


def _gist(text: str, *, limit: int = 120) -> str:
    """One line of it, harmless inside markdown."""
    line = " ".join(re.sub(r"[`_#<>\[\]|\\]|\*(?! )|(?<! )\*", "", text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
