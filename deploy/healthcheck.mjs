// The image's health check: exit code 0 when omnishim works, 1 when it does not, with one line that says why.
//
// Asks the first of these that listens on this host:
//   1. the health_check extension on 13133: 200 is healthy, all else is not;
//   2. the metrics page on 8888, which is on unless the configuration switches it off: it answers once the program is ready;
//   3. OTLP over HTTP on 4318: that it accepts a connection.
// OMNISHIM_HEALTH_URL names another URL, which alone is then asked.
import { connect } from "node:net";

const TIMEOUT_MS = 3_000;

/** The status that `url` answers with, or undefined where nothing listens. */
async function statusOf(url) {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })).status;
  } catch (error) {
    if (error.cause?.code === "ECONNREFUSED" || error.cause?.errors?.every(({ code }) => code === "ECONNREFUSED"))
      return undefined;
    throw error;
  }
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", timeout: TIMEOUT_MS });
    const done = (answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket
      .on("connect", () => done(true))
      .on("error", () => done(false))
      .on("timeout", () => done(false));
  });
}

async function check() {
  const own = process.env.OMNISHIM_HEALTH_URL;
  const urls = own ? [own] : ["http://127.0.0.1:13133/", "http://127.0.0.1:8888/metrics"];
  for (const url of urls) {
    const status = await statusOf(url);
    if (status !== undefined) return { healthy: status === 200, why: `${url} answers ${status}` };
  }
  if (own) return { healthy: false, why: `nothing listens at ${own}` };
  const open = await accepts(4318);
  return { healthy: open, why: open ? "port 4318 accepts" : "nothing listens on 13133, 8888 or 4318" };
}

try {
  const { healthy, why } = await check();
  console.log(why);
  process.exitCode = healthy ? 0 : 1;
} catch (error) {
  console.log(`no answer: ${error.cause?.message ?? error.message}`);
  process.exitCode = 1;
}
