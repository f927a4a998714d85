/** OTLP over gRPC: the three collector services. */
import type { Signal } from "../../kernel/api.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import type { GrpcMethod } from "../../transport/grpc/method.ts";
import { GrpcCode, GrpcError } from "../../transport/grpc/status.ts";
import { type Intake, MalformedError } from "./intake.ts";
import { refusal } from "./outcome.ts";

/** Paths of the Export methods (opentelemetry/proto/collector; a test compares them with proto/). */
export const EXPORT_PATHS: { readonly [S in Signal]: string } = {
  traces: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
  metrics: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
  logs: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
};

/** An Export response without fields: everything was taken. */
const ACCEPTED = new Uint8Array();

/** The methods of the signals that have a pipeline. */
export function exportMethods(intake: Intake): ReadonlyMap<string, GrpcMethod> {
  return new Map(intake.signals.map((signal) => [EXPORT_PATHS[signal], exportMethod(intake, signal)]));
}

function exportMethod(intake: Intake, signal: Signal): GrpcMethod {
  return {
    async handle(message, call) {
      try {
        await intake.take(signal, "grpc", "protobuf", message, call);
        return ACCEPTED;
      } catch (error) {
        if (error instanceof MalformedError)
          throw new GrpcError(GrpcCode.INTERNAL, `grpc: error unmarshalling request: ${error.message}`);
        throw refusal(ConsumeError.from(error));
      }
    },
  };
}
