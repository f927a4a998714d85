/** OTLP over gRPC: the three collector services. */
import type { Signal } from "../../kernel/api.ts";
import { ConsumeError } from "../../kernel/errors.ts";
import type { Authenticate } from "../../transport/auth.ts";
import type { GrpcMethod } from "../../transport/grpc/method.ts";
import { exportPaths } from "../../transport/grpc/otlp-services.ts";
import { GrpcCode, GrpcError } from "../../transport/grpc/status.ts";
import { type Intake, MalformedError } from "./intake.ts";
import { refusal } from "./outcome.ts";

/** An Export response without fields: everything was taken. */
const ACCEPTED = new Uint8Array();

/** The methods of the signals that have a pipeline. */
export function exportMethods(intake: Intake, authenticate?: Authenticate): ReadonlyMap<string, GrpcMethod> {
  const paths = exportPaths();
  return new Map(intake.signals.map((signal) => [paths[signal], exportMethod(intake, signal, authenticate)]));
}

function exportMethod(intake: Intake, signal: Signal, authenticate: Authenticate | undefined): GrpcMethod {
  return {
    authenticate:
      authenticate &&
      ((header) =>
        authenticate(header).catch((error: unknown) => {
          throw error instanceof ConsumeError ? refusal(error) : error;
        })),
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
