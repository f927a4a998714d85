// pdata-verdicts says what the Collector's own code makes of encoded requests: a line of JSON each, in and out.
//
//	go run -buildvcs=false . < ../../../fixtures/otlp/collector-verdicts.jsonl
//
// In: signal, form (proto or json) and the request, as hex or, for JSON that is UTF-8, as text. Out: the same with the
// error of the unmarshaller, or the number of items, the request as the Collector would send it on (hex), and that as JSON.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"os"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

type verdict struct {
	Signal string `json:"signal"`
	Form   string `json:"form"`
	Hex    string `json:"hex,omitempty"`
	Text   string `json:"text,omitempty"`
	Error  string `json:"error,omitempty"`
	Items  int    `json:"items"`
	Proto  string `json:"proto,omitempty"`
	JSON   string `json:"json,omitempty"`
}

type request interface {
	UnmarshalProto([]byte) error
	UnmarshalJSON([]byte) error
	MarshalProto() ([]byte, error)
	MarshalJSON() ([]byte, error)
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<28)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for lines.Scan() {
		var v verdict
		must(json.Unmarshal(lines.Bytes(), &v))
		judge(&v)
		must(out.Encode(v))
	}
	must(lines.Err())
}

func judge(v *verdict) {
	v.Error, v.Items, v.Proto, v.JSON = "", 0, "", ""
	body := []byte(v.Text)
	if v.Hex != "" {
		var err error
		body, err = hex.DecodeString(v.Hex)
		must(err)
	}
	r, count := newRequest(v.Signal)
	unmarshal := r.UnmarshalProto
	if v.Form == "json" {
		unmarshal = r.UnmarshalJSON
	}
	if err := unmarshal(body); err != nil {
		v.Error = err.Error()
		return
	}
	v.Items = count()
	proto, err := r.MarshalProto()
	must(err)
	v.Proto = hex.EncodeToString(proto)
	// NaN and infinities have no JSON here: the Collector fails on them.
	if text, err := r.MarshalJSON(); err == nil {
		v.JSON = string(text)
	}
}

func newRequest(signal string) (request, func() int) {
	switch signal {
	case "traces":
		r := ptraceotlp.NewExportRequest()
		return r, func() int { return r.Traces().SpanCount() }
	case "logs":
		r := plogotlp.NewExportRequest()
		return r, func() int { return r.Logs().LogRecordCount() }
	default:
		r := pmetricotlp.NewExportRequest()
		return r, func() int { return r.Metrics().DataPointCount() }
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
