//go:build tools

// Package peers pins the Jaeger v1 all-in-one that the upstream documents deploy, as a test peer.
package peers

import _ "github.com/jaegertracing/jaeger/cmd/all-in-one"
