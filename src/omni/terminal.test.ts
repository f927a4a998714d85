import { describe, expect, it } from "vitest";
import { terminalOptions } from "./terminal.ts";

const terminal = { isTTY: true, columns: 120 };

describe("terminalOptions", () => {
  it("terminalOptions uses colour and the terminal's width when the stream is one", () => {
    expect(terminalOptions(terminal, { LANG: "en_US.UTF-8" })).toEqual({ width: 120, colour: true, ascii: false });
    expect(terminalOptions({ isTTY: true, columns: 500 }, {}).width).toBe(160);
  });

  it("terminalOptions uses neither when the stream is a file or a pipe", () => {
    expect(terminalOptions({}, {})).toEqual({ width: 100, colour: false, ascii: false });
  });

  it("terminalOptions leaves colour out when NO_COLOR is set to anything or the terminal is dumb", () => {
    expect(terminalOptions(terminal, { NO_COLOR: "1" }).colour).toBe(false);
    expect(terminalOptions(terminal, { NO_COLOR: "" }).colour).toBe(true);
    expect(terminalOptions(terminal, { TERM: "dumb" }).colour).toBe(false);
  });

  it("terminalOptions asks for ASCII when the first locale variable that is set is not UTF-8", () => {
    expect(terminalOptions(terminal, { LC_ALL: "C", LANG: "en_US.UTF-8" }).ascii).toBe(true);
    expect(terminalOptions(terminal, { LC_ALL: "", LC_CTYPE: "C.utf8", LANG: "C" }).ascii).toBe(false);
    expect(terminalOptions(terminal, {}).ascii).toBe(false);
  });
});
