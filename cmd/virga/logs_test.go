package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogThatGrowsIsBoundedWhileItsWriterGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "virga.log")
	writer, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	const limit, kept = 1000, 3
	lines := 0
	for range 20 {
		for range 30 {
			fmt.Fprintf(writer, "line %d\n", lines)
			lines++
		}
		for range 2 { // the second time it is small
			if err := rotate(path, limit, kept); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, _ := filepath.Glob(path + "*")
	if len(files) != 1+kept {
		t.Errorf("there are %v", files)
	}
	var all string
	for n := kept; n >= 0; n-- {
		name := path
		if n > 0 {
			name = fmt.Sprintf("%s.%d", path, n)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 && len(data) > limit {
			t.Errorf("%s has %d bytes", name, len(data))
		}
		if strings.Contains(string(data), "\x00") {
			t.Errorf("%s has a hole: its writer went on where it was", name)
		}
		all += string(data)
	}
	if !strings.HasSuffix(all, fmt.Sprintf("line %d\n", lines-1)) {
		t.Error("the last line is lost")
	}
	if err := rotate(path+".none", limit, kept); err != nil {
		t.Errorf("a log that is not there: %v", err)
	}
}
