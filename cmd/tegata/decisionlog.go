package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tegata/tegata/authz/decisionlog"
)

// openDecisionLog opens the decision log; nil without one. rules is asked once
// decisions are made.
func openDecisionLog(c *decisionLogConfig, rules func(policy string) decisionlog.Rules, console io.Writer, log *slog.Logger, metrics prometheus.Registerer) (*decisionlog.Log, error) {
	if c == nil {
		return nil, nil
	}
	conf := decisionlog.Config{
		Labels: map[string]string{"id": hostname()}, DropAllowed: c.DropAllowed, DropRoutes: c.DropRoutes, Sample: c.Sample,
		EraseHeaders: c.EraseHeaders, Rules: rules, Logger: log, Metrics: metrics,
	}
	conf.Labels["version"], _ = version()
	for name, value := range c.Labels {
		conf.Labels[name] = value
	}
	for _, m := range c.Mask {
		conf.Masks = append(conf.Masks, decisionlog.Mask{Op: m.Op, Path: m.Path, Value: m.Value})
	}
	if c.Console {
		conf.Console = console
	}
	if c.File.Path != "" {
		size, err := parseBytes(c.File.MaxSize)
		if err != nil {
			return nil, fmt.Errorf("authz.decision_log.file.max_size: %w", err)
		}
		conf.File = &decisionlog.File{Path: c.File.Path, MaxBytes: size, Keep: c.File.Keep}
	}
	var err error
	if conf.HTTP, err = decisionUpload("http", c.HTTP.service()); err != nil {
		return nil, err
	}
	if conf.HTTP != nil {
		conf.HTTP.Partition = c.HTTP.Partition
	}
	if conf.OTLP, err = decisionUpload("otlp", c.OTLP); err != nil {
		return nil, err
	}
	return decisionlog.New(conf)
}

// decisionUpload is nil without a URL. key is where c stands in the section.
func decisionUpload(key string, c decisionLogService) (*decisionlog.HTTP, error) {
	if c.URL == "" {
		return nil, nil
	}
	h := &decisionlog.HTTP{URL: c.URL, Header: http.Header{}}
	if c.TokenFile != "" {
		token, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("authz.decision_log.%s.token_file: %w", key, err)
		}
		h.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	if c.BufferDir != "" {
		size, err := parseBytes(c.BufferSize)
		if err != nil {
			return nil, fmt.Errorf("authz.decision_log.%s.buffer_size: %w", key, err)
		}
		h.Disk = &decisionlog.Disk{Dir: c.BufferDir, MaxBytes: size}
	}
	return h, nil
}

// hostname is how this process is called where many report.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "authz"
	}
	return name
}
