package httpapi

import (
	"bytes"
	"strings"
	"testing"
)

func TestTheReferenceIsPlainAndNamesEveryRoute(t *testing.T) {
	y := newToy(t)
	page := string(y.want(200, y.do("nobody", "GET", "/docs", "")).body)
	for _, r := range y.Routes() {
		_, path, _ := strings.Cut(r, " ")
		if !strings.Contains(page, path) {
			t.Errorf("the page lacks %s", r)
		}
	}
	if strings.Contains(page, "<script") || strings.Contains(page, "http:") || strings.Contains(page, "https:") {
		t.Error("the page loads something")
	}
}

func TestTheDocumentHasTheWordsOfTheSource(t *testing.T) {
	y := newToy(t)
	var out bytes.Buffer
	if err := WriteOpenAPI(y.API, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"openapi: 3.1.0", "Kind is the noun, in the singular.", "SeenGeneration is the generation of the spec", "/v1/projects/{project}/boats/{name}/sail", "BoatList", "x-right: write"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the document lacks %q", want)
		}
	}
}
