// What front ends of lightspeed do, and no more: post with fetch-event-source, take each message for JSON, append tokens.

import { fetchEventSource } from "./fetch-event-source/index";

const answer = document.querySelector("#answer");
const state = document.querySelector("#state");

window.chat = { conversation: null, events: [], unreadable: [], breaks: 0 };

window.ask = (body, headers) => {
    state.textContent = "asking";
    fetchEventSource("/api/v1/ai/streaming_chat/", {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-CSRFToken": cookie("csrftoken"), ...headers },
        body: JSON.stringify(body),
        onmessage: take,
        onerror: () => void (window.chat.breaks += 1), // and it posts again after a second
    }).then(
        () => (state.textContent = "done"),
        (error) => (state.textContent = String(error)),
    );
};

function take(message) {
    const { event, data } = parsed(message);
    window.chat.events.push(event);
    if (event === "start") window.chat.conversation = data.conversation_id;
    if (event === "token") answer.textContent += data.token;
}

function parsed(message) {
    try {
        return JSON.parse(message.data);
    } catch (error) {
        window.chat.unreadable.push(message);
        throw error; // the library takes it for a broken connection
    }
}

function cookie(name) {
    return document.cookie.match(new RegExp(`(?:^|; )${name}=([^;]*)`))?.[1] ?? "";
}
