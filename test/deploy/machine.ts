/** What is on the machine that runs the tests, and root file systems made of it. */
import { execFileSync } from "node:child_process";
import { accessSync, chmodSync, constants, cpSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";

/** A program's path by its name, as a shell finds it, or undefined. */
export function find(name: string): string | undefined {
  return (process.env["PATH"] ?? "")
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** The shared libraries of a program, and the loader, by their paths. */
function librariesOf(program: string): string[] {
  try {
    const lines = execFileSync("ldd", [program], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    return [...lines.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1] ?? "");
  } catch {
    return []; // linked statically
  }
}

/** A root file system to be, in an empty folder. */
export class Directory {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
    for (const folder of ["tmp", "etc"]) mkdirSync(join(path, folder), { recursive: true });
    // As every image has it; Docker gives a tmpfs the mode of the folder that it covers.
    chmodSync(join(path, "tmp"), 0o1777);
    writeFileSync(join(path, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
  }

  /** Copies a file or folder of this machine, links followed. */
  copy(from: string, to: string): void {
    const target = join(this.#path, to);
    mkdirSync(dirname(target), { recursive: true });
    cpSync(from, target, { recursive: true, dereference: true });
  }

  /** Copies a program with the libraries that it needs. */
  program(from: string, to: string): void {
    this.copy(from, to);
    for (const library of librariesOf(from)) if (!existsSync(join(this.#path, library))) this.copy(library, library);
  }

  link(path: string, target: string): void {
    mkdirSync(dirname(join(this.#path, path)), { recursive: true });
    symlinkSync(target, join(this.#path, path));
  }
}
