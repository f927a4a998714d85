/** A merge as the connector makes one, without anybody who counts. */
import { Merge } from "../dist/omni/merge.js";

const ignore = () => {};
const observer = {
  request: ignore,
  merged: ignore,
  unmerged: ignore,
  guessed: ignore,
  late: ignore,
  earlyRelease: ignore,
  instanceClock: ignore,
};

/** @param {object} over settings that are not the defaults */
export const newMerge = (over = {}) =>
  new Merge(
    {
      roles: { prefill: new Map(), decode: new Map() },
      names: { service: "omni-proxy", role: { prefill: "vllm-prefill", decode: "vllm-decode" }, version: "0.0.0" },
      spanWaitMs: 500,
      waitMs: 10_000,
      requestTimeoutMs: 900_000,
      maxRequests: 100_000,
      rememberMs: 900_000,
      rememberCount: 500_000,
      clockSkew: "annotate",
      unsampled: "emit",
      ...over,
    },
    observer,
  );

export const source = { host: "proxy", path: "/var/log/omni/nginx_error.log", instance: "", timezone: "UTC" };
