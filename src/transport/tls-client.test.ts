import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Authority } from "../../test/kit/certificates.ts";
import { FakeClock } from "../../test/kit/clock.ts";
import { decodeSection } from "../config/schema.ts";
import { isPlaintext, type TlsClientConfig, TlsClientSource, tlsClientSchema } from "./tls-client.ts";

const config = (over: object = {}): TlsClientConfig => decodeSection(tlsClientSchema, over).config;

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tls-client-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("tlsClientSchema", () => {
  it("has the Collector's defaults", () => {
    expect(config()).toMatchObject({
      insecure: false,
      insecure_skip_verify: false,
      min_version: "1.2",
      max_version: "",
      reload_interval: 0,
    });
  });

  it.each([
    [{ ca_file: "a", ca_pem: "b" }, "ca_pem: provide either a CA file or the PEM-encoded string, but not both"],
    [{ cert_file: "a" }, "cert_file: TLS configuration must include both certificate and key (add key_file"],
    [{ key_file: "a" }, "key_file: TLS configuration must include both certificate and key (add cert_file"],
    [
      { min_version: "1.3", max_version: "1.2" },
      "min_version: min_version (1.3) cannot be greater than max_version (1.2)",
    ],
    [{ min_version: "1.5" }, 'min_version: expected one of "1.0", "1.1", "1.2", "1.3", got string "1.5"'],
    [{ cipher_suites: ["TLS_RSA"] }, 'cipher_suites: invalid TLS cipher suite: "TLS_RSA"'],
  ])("refuses %j", (over, message) => {
    expect(() => config(over)).toThrow(message);
  });

  it("hides the key when the configuration is printed", () => {
    const { effective } = decodeSection(tlsClientSchema, { cert_pem: "c", key_pem: "secret" });
    expect(JSON.stringify(effective)).not.toContain("secret");
  });
});

describe("isPlaintext", () => {
  it.each([
    [{}, false],
    [{ insecure: true }, true],
    [{ insecure: true, ca_file: "ca.pem" }, false],
  ])("%j -> %s", (over, plaintext) => {
    expect(isPlaintext(config(over))).toBe(plaintext);
  });
});

describe("TlsClientSource", () => {
  it("load names setting and file when a file is missing or holds no PEM", async () => {
    const missing = join(folder, "missing.pem");
    await expect(new TlsClientSource(config({ ca_file: missing }), new FakeClock()).load()).rejects.toThrow(
      `failed to load TLS config: tls::ca_file: ENOENT: no such file or directory, open '${missing}'`,
    );
    const text = join(folder, "text.pem");
    await writeFile(text, "hello");
    await expect(new TlsClientSource(config({ ca_file: text }), new FakeClock()).load()).rejects.toThrow(
      `failed to load TLS config: tls::ca_file: ${text} has no PEM block ("-----BEGIN ...")`,
    );
  });

  it("load refuses a key that does not belong to the certificate", async () => {
    const authority = new Authority();
    const [one, two] = [authority.issue({ names: ["one"] }), authority.issue({ names: ["two"] })];
    const source = new TlsClientSource(config({ cert_pem: one.certPem, key_pem: two.keyPem }), new FakeClock());
    await expect(source.load()).rejects.toThrow(/failed to load TLS config: .*check tls::ca_file, cert_file/);
  });

  it("load takes PEM texts, versions, suites and the name to expect", async () => {
    const authority = new Authority();
    const { certPem, keyPem } = authority.issue({ names: ["client"] });
    const source = new TlsClientSource(
      config({
        ca_pem: authority.certPem,
        cert_pem: certPem,
        key_pem: keyPem,
        max_version: "1.2",
        cipher_suites: ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
        server_name_override: "jaeger",
        insecure_skip_verify: true,
        include_system_ca_certs_pool: true,
      }),
      new FakeClock(),
    );
    expect(await source.load()).toMatchObject({ serverName: "jaeger", rejectUnauthorized: false });
  });

  it("reload gives a new client only after reload_interval and only when a file has changed", async () => {
    const clock = new FakeClock();
    const file = join(folder, "ca.pem");
    await writeFile(file, new Authority().certPem);
    const source = new TlsClientSource(config({ ca_file: file, reload_interval: "1m" }), clock);
    await source.load();
    await writeFile(file, new Authority().certPem);
    expect(await source.reload()).toBeUndefined();
    await clock.advance(60_000);
    expect(await source.reload()).toBeDefined();
    await clock.advance(60_000);
    expect(await source.reload()).toBeUndefined();
  });

  it("reload never reads again when reload_interval is 0", async () => {
    const clock = new FakeClock();
    const file = join(folder, "once.pem");
    await writeFile(file, new Authority().certPem);
    const source = new TlsClientSource(config({ ca_file: file }), clock);
    await source.load();
    await rm(file);
    await clock.advance(1e9);
    expect(await source.reload()).toBeUndefined();
  });
});
