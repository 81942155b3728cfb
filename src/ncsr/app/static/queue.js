// Talks to the server: a visit, and jobs that wait in Gradio's queue and send events while they run.

const settings = JSON.parse(document.body.dataset.settings);
let visit = null;

/** Begin a visit; the server forgets it, and all its pictures, when the page is left. */
export async function openVisit() {
  visit = (await (await ask("/visits", { method: "POST" })).json()).id;
  setInterval(() => fetch(`/visits/${visit}/alive`, { method: "POST" }).catch(() => {}), 60_000);
  addEventListener("pagehide", () => navigator.sendBeacon(`/visits/${visit}/leave`));
  addEventListener("pageshow", (event) => event.persisted && location.reload());
}

/** The address of something of this visit. */
export const address = (path) => `/visits/${visit}/${path}`;

/** `fetch`, but every failure is an Error with a sentence for the visitor. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer: is ncsr app still running?");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.error || "The server refused this: load the page again.");
}

/** Run a job. `onEvent` is called with its events and, while it waits, with {event: "waiting", ahead}. Resolves at its end. */
export async function run(name, values, onEvent, signal) {
  const body = { fn_index: settings.jobs.indexOf(name), session_hash: visit, data: [values], simple_format: true };
  const headers = { "content-type": "application/json" };
  const join = await ask("/gradio_api/queue/join", { method: "POST", headers, body: JSON.stringify(body) });
  const id = (await join.json()).event_id;
  const cancel = () => fetch("/gradio_api/cancel", { method: "POST", headers, body: JSON.stringify({ ...body, event_id: id }) });
  signal.addEventListener("abort", cancel);
  if (signal.aborted) cancel();
  const stream = new EventSource(`/gradio_api/queue/data?session_hash=${visit}`);
  try {
    await new Promise((resolve, reject) => {
      stream.onerror = () => (signal.aborted ? resolve() : reject(new Error("The connection to the server was lost.")));
      stream.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.event_id && message.event_id !== id) return;
        if (message.msg === "estimation") onEvent({ event: "waiting", ahead: message.rank + 1 });
        else if (message.msg === "process_starts") onEvent({ event: "started" });
        else if (message.msg === "process_generating" && message.success) onEvent(message.output.data[0]);
        else if (message.msg === "process_completed") {
          if (message.success === false) reject(new Error(message.output?.error || "This failed on the server; its log tells why."));
          else resolve();
        } else if (message.msg === "unexpected_error") reject(new Error(message.message || "The server stopped."));
      };
    });
  } finally {
    stream.close();
    signal.removeEventListener("abort", cancel);
  }
}
