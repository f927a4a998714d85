import { secretMap } from "../config/schema.ts";

/** `headers`: sent with every request, values hidden in print-config and logs. */
export function requestHeaders() {
  return secretMap().check((ctx) => {
    for (const [name, value] of Object.entries(ctx.value)) {
      const problem = !/^[\w!#$%&'*+.^`|~-]+$/.test(name)
        ? `invalid header name ${JSON.stringify(name)}`
        : !/^[\t\x20-\x7e\x80-\xff]*$/.test(value.reveal())
          ? `the value of header ${JSON.stringify(name)} has a character that headers cannot carry`
          : undefined;
      if (problem) ctx.issues.push({ code: "custom", input: ctx.value, path: [name], message: problem });
    }
  });
}
