// What do lines of an event stream say?

/** The events in lines of SSE as pairs of name and data. */
export function events(lines) {
  const read = [];
  let [name, data] = [null, []];
  for (const line of lines) {
    const [, field, value] = line.match(/^(event|data): (.*)$/su) ?? [];
    if (field === "event") name = value;
    if (field === "data") data.push(value);
    if (line === "") {
      read.push([name, data.join("\n")]);
      [name, data] = [null, []];
    }
  }
  return read;
}
