package image

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// decodeXML reads XML in the encodings in which products write it: UTF-8, UTF-16 and Latin-1.
func decodeXML(text []byte, into any) error {
	wide := false
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		if len(text) < 2 || order.Uint16(text) != 0xfeff && order.Uint16(text) != '<' {
			continue
		}
		units := make([]uint16, len(text)/2)
		for i := range units {
			units[i] = order.Uint16(text[2*i:])
		}
		text, wide = []byte(string(utf16.Decode(units))), true
		break
	}
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	d.CharsetReader = func(label string, r io.Reader) (io.Reader, error) {
		switch label = strings.ToLower(label); {
		case wide && strings.HasPrefix(label, "utf-16"), label == "us-ascii":
			return r, nil
		case label == "iso-8859-1" || label == "iso-8859-15" || label == "windows-1252":
			// They differ in signs that no name of a file or a disk has.
			all, err := io.ReadAll(r)
			runes := make([]rune, len(all))
			for i, b := range all {
				runes[i] = rune(b)
			}
			return strings.NewReader(string(runes)), err
		}
		return nil, fmt.Errorf("it is written in %q; write it in UTF-8", short(label))
	}
	return d.Decode(into)
}
