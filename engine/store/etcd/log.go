package etcd

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// harmless are errors that etcd reports at every start and stop.
var harmless = map[string]bool{
	"setting up serving from embedded etcd failed.": true,
	"failed to update storage version":              true,
}

// logger passes etcd's warnings and errors on to slog.
func logger() *zap.Logger { return zap.New(sink{}) }

type sink struct{ fields []zapcore.Field }

func (s sink) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

func (s sink) With(fields []zapcore.Field) zapcore.Core {
	return sink{fields: append(append([]zapcore.Field(nil), s.fields...), fields...)}
}

func (s sink) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if s.Enabled(e.Level) {
		return c.AddCore(e, s)
	}
	return c
}

func (s sink) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slog.LevelDebug // etcd warns of much that is nobody's business
	if e.Level >= zapcore.ErrorLevel && !harmless[e.Message] {
		level = slog.LevelWarn
	}
	encoder := zapcore.NewMapObjectEncoder()
	for _, f := range append(s.fields, fields...) {
		f.AddTo(encoder)
	}
	slog.Log(context.Background(), level, "etcd: "+e.Message, "fields", encoder.Fields)
	return nil
}

func (s sink) Sync() error { return nil }
