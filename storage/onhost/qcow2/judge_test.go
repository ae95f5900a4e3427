package qcow2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// made is the head of a file of version 3 that builds on another.
func made(backing, format string, incompatible uint64) []byte {
	b := make([]byte, 4096)
	be := binary.BigEndian
	be.PutUint32(b, 0x514649fb)
	be.PutUint32(b[4:], 3)
	be.PutUint32(b[20:], 17)
	be.PutUint64(b[24:], 64<<20)
	be.PutUint64(b[72:], incompatible)
	be.PutUint32(b[100:], 104)
	at := 104
	if format != "" {
		be.PutUint32(b[at:], backingFormat)
		be.PutUint32(b[at+4:], uint32(len(format)))
		copy(b[at+8:], format)
		at += 8 + (len(format)+7)&^7
	}
	if backing != "" {
		be.PutUint64(b[8:], uint64(at+8))
		be.PutUint32(b[16:], uint32(len(backing)))
		copy(b[at+8:], backing)
	}
	return b
}

func TestJudgeRefusesWhatLeadsElsewhere(t *testing.T) {
	const ours = "/ds/images/a.qcow2"
	allow := func(name string) error {
		if name != ours {
			return errors.New("it builds on " + name)
		}
		return nil
	}
	with := func(b []byte, change func([]byte)) []byte { change(b); return b }
	be := binary.BigEndian
	for name, c := range map[string]struct {
		head []byte
		says string // empty: it is taken
	}{
		"alone":                 {made("", "", 0), ""},
		"alone and dirty":       {made("", "", 1|8|16), ""},
		"on our image":          {made(ours, QCOW2, 16), ""},
		"on /etc/shadow":        {made("/etc/shadow", QCOW2, 0), "builds on /etc/shadow"},
		"on /etc/shadow as raw": {made("/etc/shadow", Raw, 0), "builds on /etc/shadow"},
		"on our image as raw":   {made(ours, Raw, 0), `format "raw"`},
		"of no format":          {made(ours, "", 0), "does not say of what format"},
		"on a protocol":         {made("nbd://10.0.0.1/x", QCOW2, 0), "nbd://"},
		"on a text":             {made(`json:{"driver":"file","filename":"/etc/shadow"}`, QCOW2, 0), "json:"},
		"on a way round":        {made("/ds/images/../../etc/shadow", QCOW2, 0), "builds on"},
		"on a name with an end": {made(ours+"\x00", QCOW2, 0), "makes no sense"},
		"with a data file":      {made("", "", 4), "content lies in another file"},
		"with a data file too":  {made(ours, QCOW2, 4), "content lies in another file"},
		"of the future":         {made("", "", 1<<7), "bits 0x80"},
		"corrupt":               {made("", "", 2), "corrupt"},
		"encrypted":             {with(made("", "", 0), func(b []byte) { be.PutUint32(b[32:], 2) }), "encrypted"},
		"a long name":           {with(made(ours, QCOW2, 0), func(b []byte) { be.PutUint32(b[16:], 5000) }), "makes no sense"},
		"a name far away":       {with(made(ours, QCOW2, 0), func(b []byte) { be.PutUint64(b[8:], 1<<40) }), "makes no sense"},
		"a name without length": {with(made(ours, QCOW2, 0), func(b []byte) { be.PutUint32(b[16:], 0) }), "makes no sense"},
		"extensions for ever":   {with(made(ours, "x", 0), func(b []byte) { be.PutUint32(b[104:], 77); be.PutUint32(b[108:], 0xfffffff8) }), "format"},
		"a head that is long":   {with(made(ours, QCOW2, 0), func(b []byte) { be.PutUint32(b[100:], 1<<31) }), "read the head"},
		"of another version":    {with(made("", "", 0), func(b []byte) { b[7] = 9 }), "version"},
		"cut off":               {made("", "", 0)[:50], "too short"},
		"no qcow2":              {bytes.Repeat([]byte("x"), 512), "does not begin"},
	} {
		err := Judge(bytes.NewReader(c.head), allow)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Judge(bytes.NewReader(made(ours, QCOW2, 0)), nil); err == nil {
		t.Error("what shall stand alone may build on another")
	}
}

func FuzzJudge(f *testing.F) {
	f.Add(made("/ds/images/a.qcow2", QCOW2, 0))
	f.Add(made("", "", 4))
	f.Fuzz(func(t *testing.T, head []byte) {
		asked := ""
		err := Judge(bytes.NewReader(head), func(name string) error { asked = name; return nil })
		h, headErr := ReadHead(bytes.NewReader(head))
		if err == nil && (headErr != nil || h.HasDataFile || h.Encrypted || h.Unknown() != 0 || h.HasBacking != (asked != "")) {
			t.Fatalf("taken: %+v on %q", h, asked)
		}
	})
}
