package cli

import (
	"bytes"
	"encoding/json"
)

// said is a spec as it is sent: without what was not said, which is left to the server. A list that is
// empty but there says that there shall be none.
func said(spec any) map[string]any {
	data, err := json.Marshal(spec)
	if err != nil {
		panic("cli: a spec that is no JSON: " + err.Error())
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var out map[string]any
	_ = d.Decode(&out)
	dropUnsaid(out)
	return out
}

// dropUnsaid takes out zeros, and the objects of which nothing is left.
func dropUnsaid(of map[string]any) {
	for key, v := range of {
		switch v := v.(type) {
		case map[string]any:
			if dropUnsaid(v); len(v) == 0 {
				delete(of, key)
			}
		case []any:
			for _, x := range v {
				if m, isMap := x.(map[string]any); isMap {
					dropUnsaid(m)
				}
			}
		case nil:
			delete(of, key)
		default:
			if v == "" || v == false || v == json.Number("0") {
				delete(of, key)
			}
		}
	}
}
