package decisionlog

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// loss is why an event that was wanted is not where it should be.
type loss string

// The losses.
const (
	lostQueueFull  loss = "queue_full"  // events come faster than they are encoded
	lostEncoding   loss = "encoding"    // cannot be JSON, or is too large
	lostFile       loss = "file"        // the file could not be written
	lostConsole    loss = "console"     // the writer failed
	lostBufferFull loss = "buffer_full" // the service does not take what comes
	lostDisk       loss = "disk"        // the disk buffer could not be written or read
	lostRefused    loss = "refused"     // the service does not accept the event
	lostAtEnd      loss = "end"         // not delivered within the time for the end
)

var losses = []loss{
	lostQueueFull, lostEncoding, lostFile, lostConsole, lostBufferFull, lostDisk, lostRefused, lostAtEnd,
}

// metrics are the figures of a Log; see docs/decision-log.md.
type metrics struct {
	logged, dropped, sampledOut prometheus.Counter
	incomplete, ruleErrors      prometheus.Counter
	losses                      map[loss]prometheus.Counter
	delivered, failed, rejected prometheus.Counter
	all                         []prometheus.Collector
}

func newMetrics() *metrics {
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tegata_decision_log_events_total",
		Help: "Decisions, by what became of them in the log (logged, dropped by a rule, sampled_out).",
	}, []string{"result"})
	lost := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tegata_decision_log_lost_total",
		Help: "Events that should be in the log and are not, by reason; for each place that they are written to.",
	}, []string{"reason"})
	uploads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tegata_decision_log_uploads_total",
		Help: "Batches sent to a service, by result (ok, failed, refused).",
	}, []string{"result"})
	m := &metrics{
		logged: events.WithLabelValues("logged"), dropped: events.WithLabelValues("dropped"), sampledOut: events.WithLabelValues("sampled_out"),
		incomplete: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tegata_decision_log_incomplete_total",
			Help: "Events logged without input or result, because these could not be had or are too large.",
		}),
		ruleErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tegata_decision_log_rule_errors_total",
			Help: "Evaluations of data.system.log that failed.",
		}),
		losses:    map[loss]prometheus.Counter{},
		delivered: uploads.WithLabelValues("ok"), failed: uploads.WithLabelValues("failed"), rejected: uploads.WithLabelValues("refused"),
	}
	for _, reason := range losses {
		m.losses[reason] = lost.WithLabelValues(string(reason))
	}
	m.all = []prometheus.Collector{events, lost, uploads, m.incomplete, m.ruleErrors}
	return m
}

// register makes the figures of l seen.
func (m *metrics) register(r prometheus.Registerer, l *Log) error {
	if r == nil {
		return nil
	}
	for _, c := range append(m.all, queueGauge(l), bufferGauge(l)) {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

func queueGauge(l *Log) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tegata_decision_log_queue_events",
		Help: "Events waiting to be encoded.",
	}, func() float64 { return float64(len(l.queue)) })
}

func bufferGauge(l *Log) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tegata_decision_log_buffer_bytes",
		Help: "Bytes waiting to be uploaded, in memory or on disk.",
	}, func() float64 {
		size := int64(0)
		for _, up := range l.ups {
			size += up.buffer.size()
		}
		return float64(size)
	})
}

// lost counts n events.
func (m *metrics) lost(why loss, n int) { m.losses[why].Add(float64(n)) }
