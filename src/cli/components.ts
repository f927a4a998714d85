import { stringify } from "yaml";
import { factories } from "../components.ts";
import { SCHEMES } from "../config/providers.ts";
import type { AnyFactory } from "../kernel/api.ts";
import { buildInfo } from "./build-info.ts";
import type { Edge } from "./edge.ts";

/** `omnishim components`: what a configuration can name, as the Collector lists it, with the older names beside. */
export function listComponents(edge: Edge): void {
  const listing = {
    buildinfo: buildInfo,
    receivers: factories.receivers.map((factory) => describe(factory, factory.signals)),
    processors: factories.processors.map((factory) => describe(factory, factory.signals)),
    exporters: factories.exporters.map((factory) => describe(factory, factory.signals)),
    connectors: factories.connectors.map((factory) =>
      describe(
        factory,
        factory.pairs.map(([from, to]) => `${from}-to-${to}`),
      ),
    ),
    extensions: factories.extensions.map((factory) => describe(factory, ["extension"])),
    providers: SCHEMES.map((scheme) => ({ scheme })),
  };
  edge.stdout.write(stringify(listing, { indent: 4 }));
}

function describe(factory: AnyFactory, uses: readonly string[]) {
  const level = factory.stability[0]?.toUpperCase() + factory.stability.slice(1);
  return {
    name: factory.type,
    ...(factory.aliases && factory.aliases.length > 0 ? { aliases: factory.aliases } : {}),
    stability: Object.fromEntries(uses.map((use) => [use, level])),
  };
}
