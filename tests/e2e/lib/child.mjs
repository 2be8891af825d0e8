// How is another program started, listened to and ended? By its own process id, always within a bound.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";

/** How long anything that should come may take before the test fails. */
export const WAIT_MS = 15_000;
const STOP_MS = 5_000;
const POLL_MS = 20;

/** Fails after `ms` where `promise` has not settled by then. */
export async function within(promise, what, ms = WAIT_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks `isTrue` again and again until it says so: for conditions that nobody announces. */
export async function until(isTrue, what, ms = WAIT_MS) {
  let isOver = false;
  const asking = (async () => {
    while (!isOver && !(await isTrue())) await pause(POLL_MS);
  })();
  try {
    await within(asking, what, ms);
  } finally {
    isOver = true;
  }
}

/** A program that runs for the length of one test. */
export class Child {
  #lines = [];
  #partial = "";
  #waiting = [];

  /** Starts it, and has test `t` end it. */
  constructor(t, command, args, options = {}) {
    this.command = command;
    this.errors = "";
    this.process = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
    this.exited = once(this.process, "close").then(([code, signal]) => ({ code, signal }));
    this.exited.catch(() => {});
    this.process.on("error", (error) => { this.errors += String(error); this.#wake(); });
    this.process.stdout.setEncoding("utf8").on("data", (text) => this.#take(text));
    this.process.stdout.on("end", () => this.#wake());
    this.process.stderr.setEncoding("utf8").on("data", (text) => { this.errors += text; });
    t.after(() => this.stop());
  }

  #take(text) {
    const lines = (this.#partial + text).split("\n");
    this.#partial = lines.pop();
    this.#lines.push(...lines);
    this.#wake();
  }

  #wake() {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** The next line of standard output, without its end; `null` at the end. */
  async line(what = `a line of ${this.command}`) {
    const waiting = async () => {
      while (this.#lines.length === 0) {
        if (this.process.stdout.readableEnded || this.process.stdout.destroyed) return null;
        await new Promise((resolve) => this.#waiting.push(resolve));
      }
      return this.#lines.shift();
    };
    try {
      return await within(waiting(), what);
    } catch (error) {
      throw new Error(`${error.message}; standard error: ${this.errors}`);
    }
  }

  /** The first line from here on that `pattern` matches, as its match. */
  async match(pattern) {
    for (;;) {
      const line = await this.line(`a line like ${pattern} of ${this.command}`);
      if (line === null) throw new Error(`${this.command} ended before ${pattern}: ${this.errors}`);
      const found = line.match(pattern);
      if (found) return found;
    }
  }

  /** Ends it: SIGTERM, and SIGKILL where that is not enough. */
  async stop() {
    const { process } = this;
    if (process.pid === undefined || process.exitCode !== null || process.signalCode !== null) return;
    process.kill("SIGTERM");
    try {
      await within(this.exited, `the end of ${this.command}`, STOP_MS);
    } catch {
      process.kill("SIGKILL");
      await this.exited;
    }
  }
}
