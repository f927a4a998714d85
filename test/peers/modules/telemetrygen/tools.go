//go:build tools

// Package peers pins telemetrygen, the OpenTelemetry project's load generator, as a test peer.
package peers

import _ "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen"
