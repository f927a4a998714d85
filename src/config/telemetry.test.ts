import { describe, expect, it } from "vitest";
import { ConfigErrors } from "../kernel/errors.ts";
import { decodeSection } from "./schema.ts";
import { metricsAddresses, resourceAttributes, telemetrySchema, telemetryWarnings } from "./telemetry.ts";

const decode = (value: unknown) => decodeSection(telemetrySchema, value).config;

describe("telemetrySchema", () => {
  it("has the Collector's defaults when nothing is given", () => {
    expect(decode(null)).toMatchObject({
      logs: { level: "info", encoding: "console", output_paths: ["stderr"], sampling: { initial: 10, tick: 10_000 } },
      metrics: { level: "normal" },
    });
  });

  it.each([
    ["INFO", "info"],
    ["Debug", "debug"],
    ["warn", "warn"],
    ["fatal", "error"],
  ])("reads log level %s as zap does", (written, level) => {
    expect(decode({ logs: { level: written } }).logs.level).toBe(level);
  });

  it("takes a file with every key that the Collector knows", () => {
    const given = {
      logs: {
        level: "info",
        development: true,
        encoding: "json",
        disable_caller: true,
        disable_stacktrace: true,
        sampling: { enabled: false, tick: "1s", initial: 1, thereafter: 2 },
        output_paths: ["stdout"],
        error_output_paths: ["stderr"],
        initial_fields: { a: 1 },
        processors: [],
      },
      metrics: {
        level: "Detailed",
        readers: [{ pull: { exporter: { prometheus: { without_units: true } } } }],
        views: [],
      },
      traces: { level: "none", processors: [], propagators: ["b3"] },
      resource: { "service.name": "x", schema_url: "u", attributes: [{ name: "a", value: 1 }] },
    };
    expect(decode(given).metrics.level).toBe("detailed");
  });

  it("refuses unknown levels, words and keys", () => {
    const wrong = () => decode({ logs: { level: 5, encoding: "xml", foo: 1 }, metrics: { level: "most" } });
    expect(wrong).toThrow(ConfigErrors);
    expect(wrong).toThrow(/unrecognized level: number 5[\s\S]*unknown metrics level "most"/);
  });

  it.each(["x", "localhost", "http://localhost:8888", "localhost:88888"])(
    "refuses %j as the address of the metrics page",
    (address) => {
      expect(() => decode({ metrics: { address } })).toThrow(
        /^metrics::address: address .*for example "localhost:8888"/,
      );
    },
  );
});

describe("metricsAddresses", () => {
  it.each([
    [null, ["localhost:8888"]],
    [{ metrics: { level: "none" } }, []],
    [{ metrics: { address: ":9999" } }, [":9999"]],
    [{ metrics: { address: "x:1", readers: [{ periodic: {} }] } }, ["x:1"]],
    [{ metrics: { readers: [] } }, []],
    [
      { metrics: { readers: [{ periodic: {} }, { pull: { exporter: { prometheus: { host: "::1", port: 1 } } } }] } },
      ["[::1]:1"],
    ],
    [{ metrics: { readers: [{ pull: { exporter: { prometheus: null } } }] } }, ["localhost:8888"]],
  ])("of %j are %j", (value, addresses) => {
    expect(metricsAddresses(decode(value)).map(({ address }) => address)).toEqual(addresses);
  });

  it("name the setting that each is from", () => {
    const { readers } = { readers: [{ periodic: {} }, { pull: { exporter: { prometheus: {} } } }] };
    expect(metricsAddresses(decode({ metrics: { readers } }))[0]?.key).toBe(
      "service::telemetry::metrics::readers::1::pull::exporter::prometheus::port",
    );
  });
});

describe("resourceAttributes", () => {
  it("puts the file's over the program's own, in both of the Collector's forms, and takes away what is null", () => {
    const config = decode({
      resource: { "service.name": "mine", "service.version": null, attributes: [{ name: "team", value: 7 }] },
    });
    expect(resourceAttributes(config, { "service.name": "omnishim", "service.version": "1", id: "i" })).toEqual({
      "service.name": "mine",
      id: "i",
      team: "7",
    });
  });
});

describe("telemetryWarnings", () => {
  it("names what has no effect and somebody would miss", () => {
    const config = decode({
      logs: { processors: [{}] },
      metrics: { views: [], readers: [{ periodic: {} }] },
      traces: { processors: [{}] },
    });
    expect(telemetryWarnings(config)).toHaveLength(4);
    expect(telemetryWarnings(decode({ traces: { level: "none" } }))).toEqual([]);
  });
});
