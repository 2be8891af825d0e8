// How is an nginx put in front of something?
import { writeFile } from "node:fs/promises";
import path from "node:path";

import { Child, until } from "./child.mjs";
import { directory, freePort } from "./place.mjs";

/** An nginx in front of `upstream`, with these directives in its only location; gives its address. */
export async function startNginx(t, upstream, directives) {
  const where = await directory(t);
  const address = `127.0.0.1:${await freePort()}`;
  const file = path.join(where, "nginx.conf");
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${where}/${name};`).join("\n  ");
  await writeFile(file, `
daemon off;
worker_processes 1;
pid ${where}/nginx.pid;
error_log stderr warn;
events {}
http {
  access_log off;
  ${temporary}
  server {
    listen ${address};
    location / {
      proxy_pass http://${upstream};
      ${directives}
    }
  }
}
`);
  const nginx = new Child(t, process.env.NGINX_BIN ?? "/usr/sbin/nginx", ["-c", file, "-p", where]);
  const isUp = async () => {
    if (nginx.process.exitCode !== null) throw new Error(`nginx ended: ${nginx.errors}`);
    return fetch(`http://${address}/nothing`).then((reply) => reply.arrayBuffer()).then(() => true, () => false);
  };
  await until(isUp, "nginx");
  return address;
}
