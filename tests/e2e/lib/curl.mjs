// What does curl see of an event stream, line by line as it comes?
import { Child } from "./child.mjs";

/** `curl -N` at work. */
export class Curl {
  /** Starts it with these arguments besides `-sSN`. */
  constructor(t, ...args) {
    this.child = new Child(t, "curl", ["-sSN", "--max-time", "60", ...args]);
    /** Comment lines seen so far. */
    this.heartbeats = 0;
  }

  /** The head of the response (for `-D -`, which curl flushes, as it does not with `-i`): its status line, and its fields by lower-case name. */
  async head() {
    const status = await this.child.line("the head of the response");
    const fields = {};
    for (;;) {
      const line = (await this.child.line("the head of the response"))?.trimEnd();
      if (!line) return { status: status?.trimEnd(), fields };
      const colon = line.indexOf(":");
      fields[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
  }

  /** The next event: `{ data, event, id, retry }`; `null` at the end of the stream. */
  async event() {
    const event = {};
    for (;;) {
      const line = await this.child.line("an event");
      if (line === null) return null;
      if (line.startsWith(":")) {
        this.heartbeats += 1;
      } else if (line === "") {
        if (Object.keys(event).length > 0) return event;
      } else {
        const [, name, value] = line.match(/^([^:]*):? ?(.*)$/);
        event[name] = name in event ? `${event[name]}\n${value}` : value;
      }
    }
  }

  /** The next line, which must be a heartbeat. */
  async heartbeat() {
    const line = await this.child.line("a heartbeat");
    if (line !== ":") throw new Error(`not a heartbeat: ${JSON.stringify(line)}`);
    this.heartbeats += 1;
  }

  /** Leaves without waiting for the end. */
  leave() {
    return this.child.stop();
  }
}
