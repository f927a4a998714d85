/** Omni Proxy's log files: there, readable, at level info. */
import type { LogFacts } from "../facts.ts";
import type { Draft } from "../finding.ts";

/** Everything about one entry of `include`. */
export function checkLog({ path, pattern, unlistable, files }: LogFacts): Draft[] {
  const key = path.join("::");
  const drafts: Draft[] = unlistable.map(({ folder, code }) => ({
    check: "log-unreadable",
    severity: "error",
    found: `the folder ${folder} cannot be listed (${code}), so ${pattern} finds nothing there`,
    wanted: "a folder that the user who runs omnishim can list",
    change: `chmod or chgrp ${folder} for that user (systemd: SupplementaryGroups=)`,
    path,
  }));
  if (files.length === 0 && drafts.length === 0) drafts.push(missing(path, `no file is like ${pattern}`, key));
  for (const { file, code, content } of files) {
    if (code === "ENOENT" || code === "ENOTDIR") drafts.push(missing(path, `${file} does not exist`, key));
    else if (code !== "")
      drafts.push({
        check: "log-unreadable",
        severity: "error",
        found: `${file} cannot be read (${code})`,
        wanted: "a file that the user who runs omnishim can read",
        change: `chmod or chgrp ${file} for that user (systemd: SupplementaryGroups=, docker: group_add)`,
        path,
      });
    else if (content?.kind === "error_log" && content.infoLines === 0 && content.isTelling)
      drafts.push({
        check: "log-level",
        severity: "error",
        found: `${file} has no line of level info: the proxy writes at level notice or above`,
        wanted: "level info, at which the proxy writes the states of each request",
        change: "omni_proxy.sh --log-level info (nginx: error_log FILE info;)",
        path,
      });
    else if (content?.kind === "error_log" && content.infoLines === 0)
      drafts.push({
        check: "log-level",
        severity: "note",
        found: `${file} does not tell its level: nothing was written in it since it was opened`,
        path,
      });
    else if (content?.kind === "unknown")
      drafts.push({
        check: "log",
        severity: "warning",
        found: `${file} is no log of Omni Proxy or of vLLM's omnilogger`,
        wanted: "nginx_error.log or nginx_access.log of the proxy",
        change: `${key}: the path of the proxy's log`,
        path,
      });
    else drafts.push({ check: "log", severity: "ok", found: `${file} can be read${kindText(content?.kind)}`, path });
  }
  return drafts;
}

function missing(path: readonly string[], found: string, key: string): Draft {
  return {
    check: "log-missing",
    severity: "error",
    found,
    wanted: "the log of the Omni Proxy whose requests are to be seen",
    change: `${key}: where the proxy writes it (nginx -T | grep _log shows the path), or remove this line`,
    path,
  };
}

function kindText(kind: string | undefined): string {
  if (kind === "error_log") return ", and is at level info";
  if (kind === "access_log") return ", and is an access log";
  if (kind === "omnilogger") return ", and is an omnilogger file";
  return ", and is empty";
}
