package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// newLogger returns the program's logger; one record is one line.
func newLogger(c logConfig, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(w, o)), nil
	}
	return slog.New(slog.NewJSONHandler(w, o)), nil
}

// newMetrics returns a registry with what every Go program has to tell.
func newMetrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	b, _ := version()
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tegata_build_info", Help: "1, labelled with the version that runs."}, []string{"version"})
	info.WithLabelValues(b).Set(1)
	r.MustRegister(info)
	return r
}

// management serves health, metrics and what tegata status shows. ready is nil
// when the program can do its work; its error is shown to whoever can reach this
// listener, so it names causes and never secrets.
func management(metrics prometheus.Gatherer, ready func() error, status func() programStatus) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/live", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "live")
	})
	mux.HandleFunc("GET /health/ready", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ready")
	})
	mux.HandleFunc("GET "+statusPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(status()) // a reader that has gone
	})
	// OpenMetrics, for scrapers that ask for it, has exemplars.
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	return mux
}

// newTraces returns a provider that sends spans by OTLP, and what ends it; nil
// without a collector. Whether a request is traced is the caller's decision, if
// it came with one.
func newTraces(ctx context.Context, c tracesConfig) (trace.TracerProvider, func(), error) {
	if c.OTLP == "" {
		return nil, func() {}, nil
	}
	options := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(c.OTLP)}
	if c.Insecure {
		options = append(options, otlptracegrpc.WithInsecure())
	}
	exporter, err := otlptracegrpc.New(ctx, options...)
	if err != nil {
		return nil, nil, fmt.Errorf("authz.traces: %w", err)
	}
	v, _ := version()
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.Ratio))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "tegata-authz"), attribute.String("service.version", v))),
	)
	end := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		_ = provider.Shutdown(ctx) // a collector that is away gets no more
	}
	return provider, end, nil
}

// said logs the error with which a program ends unasked, and passes it on.
func said(ctx context.Context, log *slog.Logger, err error) error {
	if err != nil && ctx.Err() == nil {
		log.Error("ended", "error", err)
	}
	return err
}
