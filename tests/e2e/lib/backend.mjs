// What does a test's upstream say, and when? Only what the test tells it to, one piece at a time.
import { createServer } from "node:http";

import { within } from "./child.mjs";

/** A server whose streams the test writes by hand. */
export class Backend {
  #arrived = [];
  #waiting = [];

  /** Starts it on a free port; `pages` maps paths to bodies of HTML that are answered at once. */
  static async start(t, contentType, pages = {}) {
    const backend = new Backend();
    backend.server = createServer((request, response) => {
      const page = pages[request.url];
      if (page !== undefined) {
        response.setHeader("content-type", "text/html; charset=utf-8");
        response.end(page);
        return;
      }
      response.setHeader("content-type", contentType);
      response.flushHeaders();
      backend.#arrive(new Stream(request, response));
    });
    await new Promise((resolve, reject) => backend.server.once("error", reject).listen(0, "127.0.0.1", resolve));
    backend.address = `127.0.0.1:${backend.server.address().port}`;
    t.after(() => {
      backend.server.closeAllConnections();
      return new Promise((resolve) => backend.server.close(resolve));
    });
    return backend;
  }

  #arrive(stream) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(stream);
    else this.#arrived.push(stream);
  }

  /** The next request, once its head has been answered. */
  stream() {
    const arrived = this.#arrived.shift();
    if (arrived) return arrived;
    return within(new Promise((resolve) => this.#waiting.push(resolve)), "a request at the backend");
  }
}

/** One request that the backend is answering. */
class Stream {
  constructor(request, response) {
    this.request = request;
    this.response = response;
    this.closed = new Promise((resolve) => response.once("close", resolve));
  }

  /** Writes one piece. */
  write(piece) {
    this.response.write(piece);
  }

  /** Ends the message as it should end. */
  end() {
    this.response.end();
  }

  /** Waits until whoever read it has left. */
  left() {
    return within(this.closed, "the client's leaving, seen by the backend");
  }
}
