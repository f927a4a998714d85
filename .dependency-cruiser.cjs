/** The dependency rules of docs/architecture.md, checked by `npm run check`. */
const component = "^src/(receivers|processors|connectors|exporters|extensions)/([^/]+)/";
module.exports = {
  forbidden: [
    { name: "no-circular", severity: "error", from: {}, to: { circular: true } },
    {
      name: "pdata-and-telemetry-stand-alone",
      severity: "error",
      from: { path: "^src/(pdata|telemetry)/" },
      to: { path: "^src/", pathNot: "^src/(pdata|telemetry)/" },
    },
    { name: "pdata-not-telemetry", severity: "error", from: { path: "^src/pdata/" }, to: { path: "^src/telemetry/" } },
    {
      name: "omni-is-pure",
      severity: "error",
      from: { path: "^src/omni/" },
      to: { path: "^(src/(?!omni/|pdata/)|fs|net|http|http2|child_process|timers)" },
    },
    {
      name: "kernel-knows-no-component",
      severity: "error",
      from: { path: "^src/kernel/" },
      to: { path: "^src/(receivers|processors|connectors|exporters|extensions|transport|sending|cli|omni)/" },
    },
    {
      name: "assets-stand-alone",
      severity: "error",
      from: { path: "^src/assets/", pathNot: "\\.test\\.ts$" },
      to: { path: "^src/", pathNot: "^src/assets/" },
    },
    {
      name: "config-imports",
      severity: "error",
      from: { path: "^src/config/" },
      to: { path: "^src/", pathNot: "^src/(config/|kernel/(id|errors))" },
    },
    {
      name: "transport-is-blind-to-pdata",
      severity: "error",
      from: { path: "^src/transport/" },
      to: { path: "^src/", pathNot: "^src/(transport|assets|telemetry|config)/" },
    },
    {
      name: "sending-imports",
      severity: "error",
      from: { path: "^src/sending/" },
      to: {
        path: "^src/",
        pathNot: "^src/(sending|pdata|telemetry|config)/|^src/kernel/(api|errors|folder-name|id|storage)",
      },
    },
    {
      name: "offline-imports",
      comment: "The offline tools work on the domain core alone: no service, no component, no configuration file.",
      severity: "error",
      from: { path: "^src/offline/", pathNot: "\\.test\\.ts$" },
      to: { path: "^src/", pathNot: "^src/(offline|omni|pdata)/" },
    },
    {
      name: "only-cli-imports-offline",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/(offline|cli)/" },
      to: { path: "^src/offline/" },
    },
    {
      name: "only-cli-imports-doctor",
      comment: "The doctor looks at components from outside, as an operator does.",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/(doctor|cli)/" },
      to: { path: "^src/doctor/" },
    },
    {
      name: "doctor-imports",
      severity: "error",
      from: { path: "^src/doctor/", pathNot: "\\.test\\.ts$" },
      to: { path: "^src/(cli|offline|sending)/" },
    },
    {
      name: "doctor-checks-are-pure",
      severity: "error",
      from: { path: "^src/doctor/(checks/|diagnose|samples|words)" },
      to: { path: "^(src/(?!doctor/(checks/|facts|finding|samples|words))|fs|net|http|tls|dns|os|child_process)" },
    },
    {
      name: "component-not-component",
      severity: "error",
      from: { path: component },
      to: { path: component, pathNot: "^src/$1/$2/" },
    },
    {
      name: "component-not-service",
      severity: "error",
      from: { path: component },
      to: { path: "^src/(kernel/(service|graph)|cli/)" },
    },
    {
      name: "only-components-imports-factories",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/components\\.ts$|\\.test\\.ts$" },
      to: { path: "/factory\\.ts$" },
    },
    {
      name: "only-cli-imports-components",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/cli/|\\.test\\.ts$" },
      to: { path: "^src/components\\.ts$" },
    },
    {
      name: "src-not-test",
      severity: "error",
      from: { path: "^src/", pathNot: "\\.test\\.ts$" },
      to: { path: "^(test|bench|tools)/" },
    },
    {
      name: "one-home-for-pino-and-prom-client",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/telemetry/" },
      to: { path: "node_modules/(pino|prom-client)/" },
    },
    {
      name: "one-home-for-yaml",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/(config|cli)/" },
      to: { path: "node_modules/yaml/" },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default"] },
  },
};
