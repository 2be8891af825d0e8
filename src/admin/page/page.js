// What does the page show, and how does it learn of it? One picture a second, by events from Weir itself.
// What comes from clients is only ever set as text.

const TOKEN = "weir-token";
const AGAIN_MS = 2000;
const TAP_EVENTS_MAX = 200;
const at = (id) => document.getElementById(id);

/** The answer; asks for the token where it is missing or wrong. */
async function ask(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(path, { cache: "no-store", headers, ...options });
  if (response.status === 401) askToken(token !== null);
  return response;
}

/** Calls with each event's name and block of text until the stream ends. */
async function follow(response, take) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const field = (name) => block.split("\n").filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2)).join("\n");
      take({ name: field("event"), data: field("data"), block });
    }
  }
}

// -- the token

function askToken(wasWrong) {
  sessionStorage.removeItem(TOKEN);
  at("board").hidden = true;
  at("token-form").hidden = false;
  say(wasWrong ? "This is not the token." : "Weir asks for its token.");
  at("token").focus();
}

at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  // A field of a request holds no other characters; Weir would not know such a token either.
  const token = at("token").value.trim();
  at("token").value = "";
  if (!/^[\x21-\x7e]+$/.test(token)) return say("This is not the token.");
  sessionStorage.setItem(TOKEN, token);
  at("token-form").hidden = true;
  watch();
});

// -- the picture

let watching = null;
let before = null;

/** Shows what happens until the page is hidden. */
async function watch() {
  watching?.abort();
  const mine = new AbortController();
  watching = mine;
  before = null;
  while (!mine.signal.aborted) {
    try {
      const response = await ask("/events", { signal: mine.signal });
      if (response.status === 401) return;
      if (response.ok) {
        say("Live");
        at("board").hidden = false;
        await follow(response, ({ data }) => data && show(JSON.parse(data)));
        say("The connection was lost; trying again…");
      } else {
        say((await response.text()).trim());
      }
    } catch (error) {
      if (mine.signal.aborted) return;
      say("Weir cannot be reached; trying again…");
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

function show(picture) {
  const now = performance.now();
  const span = before ? (now - before.now) / 1000 : null;
  const rates = new Map();
  for (const route of picture.routes) {
    const old = before?.routes.get(route.route);
    const rate = (key) => (span && old ? Math.max(0, route[key] - old[key]) / span : null);
    rates.set(route.route, { events: rate("events"), bytes: rate("bytes_out"), heartbeats: rate("heartbeats") });
  }
  const wasDraining = before?.isDraining ?? false;
  before = { now, isDraining: picture.draining, wasDraining, routes: new Map(picture.routes.map((route) => [route.route, route])) };
  const total = (key) => [...rates.values()].reduce((sum, rate) => (rate[key] === null ? sum : (sum ?? 0) + rate[key]), null);

  if (picture.draining && !before.wasDraining) say("Weir stops: streams end.");
  write(at("version"), picture.version);
  write(at("generation"), String(picture.generation));
  write(at("uptime"), time(picture.uptime_seconds));
  write(at("total-open"), count(picture.open.total));
  write(at("total-events"), number(total("events")));
  write(at("total-bytes"), size(total("bytes")));
  write(at("total-heartbeats"), number(total("heartbeats")));

  const routes = picture.routes.filter((route) => route.route !== "-" || route.ended > 0);
  rows(at("routes"), routes, (route) => route.route, (route) => {
    const rate = rates.get(route.route);
    const { first_event_seconds: first, gap_seconds: gap } = route;
    return [
      [route.route === "-" ? "no route" : route.route], n(count(route.open)), n(count(route.ended)), n(number(rate.events)), n(size(rate.bytes)),
      n(number(rate.heartbeats)), n(time(first.p50)), n(time(first.p99)), n(time(gap.p50)), n(time(gap.p99)),
    ];
  });
  rows(at("endpoints"), picture.endpoints, (endpoint) => `${endpoint.upstream} ${endpoint.endpoint}`, (endpoint) => [
    [endpoint.endpoint], [endpoint.upstream], health(endpoint), n(count(endpoint.streams)),
  ]);
  const { total: open, streams, silent_workers: silent } = picture.open;
  const shown = streams.length < open ? `The oldest ${count(streams.length)} of ${count(open)}.` : `${count(open)} open.`;
  write(at("streams-count"), silent ? `${shown} ${silent} busy workers did not answer.` : shown);
  rows(at("streams"), streams, (stream) => stream.id, (stream) => [
    [stream.id], null, [stream.route], [stream.state, { blocked: "wait", awaiting: "wait", ending: "bad" }[stream.state] ?? "good"],
    n(time(stream.age_seconds)), n(time(stream.idle_seconds)), n(count(stream.events)), n(size(stream.bytes)),
    n(count(stream.heartbeats)), n(size(stream.buffered)), n(time(stream.first_event_seconds)), [stream.to], [stream.version], [stream.peer],
    [request(stream), "path"], [stream.endpoint ?? "–"],
  ], (row, stream) => actions(row, stream, picture.taps));
  at("endings-none").hidden = picture.endings.length > 0;
  rows(at("endings"), picture.endings, (stream) => stream.id, (stream) => [
    [stream.id], [stream.ending, { complete: "good", drained: "good", closed: "wait", client_gone: "wait" }[stream.ending] ?? "bad"],
    n(time(stream.ended_seconds_ago)), [stream.route], n(String(stream.status || "–")), n(time(stream.age_seconds)),
    n(count(stream.events)), n(size(stream.bytes)), [stream.to], [stream.peer], [request(stream), "path"],
  ]);
}

/**
 * Makes the rows those of `items`, in their order; a row that stays keeps its elements, and with them the focus.
 * `cells` gives [text, class] for each cell, the first of which names the row; null is a cell that `dress` fills.
 */
function rows(body, items, key, cells, dress = () => {}) {
  const old = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  items.forEach((item, index) => {
    const name = key(item);
    let row = old.get(name);
    old.delete(name);
    if (!row) {
      row = document.createElement("tr");
      row.dataset.key = name;
      cells(item).forEach((_, column) => {
        const cell = document.createElement(column === 0 ? "th" : "td");
        if (column === 0) cell.scope = "row";
        row.append(cell);
      });
    }
    cells(item).forEach((cell, column) => {
      if (cell === null) return;
      const [text, kind = ""] = cell;
      const element = row.cells[column];
      write(element, text);
      if (element.className !== kind) element.className = kind;
      if (kind === "path" || column === 0) element.title = text;
    });
    dress(row, item);
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
  });
  for (const row of old.values()) row.remove();
}

function actions(row, stream, hasTaps) {
  const cell = row.cells[1];
  if (cell.childElementCount === 0) {
    const make = (text, label, act) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.setAttribute("aria-label", label);
      button.addEventListener("click", act);
      return button;
    };
    cell.append(
      make("End", `End stream ${stream.id}`, () => askEnd(stream.id)),
      make("Tap", `Tap stream ${stream.id}`, () => tap(stream.id)),
    );
  }
  const [end, tapped] = cell.children;
  end.disabled = stream.state === "ending";
  tapped.hidden = !hasTaps || stream.to === "tunnel";
}

// -- ending a stream

let ending = null;

function askEnd(id) {
  ending = id;
  write(at("end-name"), id);
  at("end-dialog").showModal();
}

at("end-no").addEventListener("click", () => at("end-dialog").close());
at("end-yes").addEventListener("click", async () => {
  at("end-dialog").close();
  try {
    const response = await ask(`/streams/${ending}`, { method: "DELETE" });
    say(response.ok ? `Stream ${ending} is told to end.` : (await response.text()).trim());
  } catch {
    say("Weir cannot be reached.");
  }
});

// -- tapping a stream

let tapping = null;

async function tap(id) {
  const mine = new AbortController();
  tapping = mine;
  const log = at("tap-log");
  log.replaceChildren();
  write(at("tap-name"), id);
  write(at("tap-state"), "Waiting for the stream to write…");
  at("tap-dialog").showModal();
  const tell = (text) => mine.signal.aborted || write(at("tap-state"), text);
  try {
    const response = await ask(`/streams/${id}/tap`, { signal: mine.signal });
    if (!response.ok) return tell((await response.text()).trim());
    await follow(response, ({ name, data, block }) => {
      if (name === "tap-missed") return tell(`${count(JSON.parse(data).missed)} events were left out: a tap copies 10 a second.`);
      if (name === "tap-end") return tell(`The stream has ended: ${JSON.parse(data).ending ?? "unknown"}.`);
      if (block === ": tapped") return undefined;
      const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
      log.append(`${block}\n\n`);
      while (log.childNodes.length > TAP_EVENTS_MAX) log.firstChild.remove();
      if (isAtEnd) log.scrollTop = log.scrollHeight;
      return undefined;
    });
  } catch {
    tell("The connection was lost.");
  }
}

at("tap-close").addEventListener("click", () => at("tap-dialog").close());
at("tap-dialog").addEventListener("close", () => tapping?.abort());

// -- words and figures

let said = "";

/** Says it once: what is said again would be read out again. */
function say(text) {
  if (said !== text) write(at("status"), text);
  said = text;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function n(text) {
  return [text, "n"];
}

function health({ up, state, reason, state_seconds: since, ejected_seconds: left }) {
  if (up) return [state, "good"];
  const why = reason ? ` (${reason})` : "";
  const how = left === null ? `since ${time(since)}` : `for ${time(left)} more`;
  return [`${state}${why} ${how}`, state === "trying" ? "wait" : "bad"];
}

function request({ method, host, path }) {
  return `${method} ${host}${path}`;
}

function count(value) {
  return value.toLocaleString("en-US");
}

function number(value) {
  if (value === null) return "–";
  return value.toLocaleString("en-US", { maximumFractionDigits: value < 10 ? 1 : 0 });
}

function size(bytes) {
  if (bytes === null) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; bytes >= 1000 && unit < units.length - 1; unit += 1) bytes /= 1000;
  return `${bytes.toLocaleString("en-US", { maximumFractionDigits: unit > 0 && bytes < 100 ? 1 : 0 })} ${units[unit]}`;
}

function time(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) watching?.abort();
  else if (at("token-form").hidden) watch();
});
watch();
