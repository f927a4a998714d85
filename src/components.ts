/** The one list of what a configuration can name. Everything else is told which factories there are. */
import { requestMergeConnectorFactory } from "./connectors/requestmerge/factory.ts";
import { debugExporterFactory } from "./exporters/debug/factory.ts";
import { fileExporterFactory } from "./exporters/file/factory.ts";
import { nopExporterFactory } from "./exporters/nop/factory.ts";
import { otlpGrpcExporterFactory } from "./exporters/otlp/factory.ts";
import { otlpHttpExporterFactory } from "./exporters/otlphttp/factory.ts";
import { basicAuthExtensionFactory } from "./extensions/basicauth/factory.ts";
import { bearerTokenAuthExtensionFactory } from "./extensions/bearertokenauth/factory.ts";
import { fileStorageExtensionFactory } from "./extensions/filestorage/factory.ts";
import { healthCheckExtensionFactory } from "./extensions/healthcheck/factory.ts";
import type { Factories } from "./kernel/factories.ts";
import { batchProcessorFactory } from "./processors/batch/factory.ts";
import { memoryLimiterProcessorFactory } from "./processors/memorylimiter/factory.ts";
import { nopReceiverFactory } from "./receivers/nop/factory.ts";
import { omniProxyLogReceiverFactory } from "./receivers/omniproxylog/factory.ts";
import { otlpReceiverFactory } from "./receivers/otlp/factory.ts";

/** Every component of this build, a line each, in alphabetical order. */
export const factories: Factories = {
  receivers: [nopReceiverFactory, omniProxyLogReceiverFactory, otlpReceiverFactory],
  processors: [batchProcessorFactory, memoryLimiterProcessorFactory],
  exporters: [
    debugExporterFactory,
    fileExporterFactory,
    nopExporterFactory,
    otlpGrpcExporterFactory,
    otlpHttpExporterFactory,
  ],
  connectors: [requestMergeConnectorFactory],
  extensions: [
    basicAuthExtensionFactory,
    bearerTokenAuthExtensionFactory,
    fileStorageExtensionFactory,
    healthCheckExtensionFactory,
  ],
};
