package compute

import (
	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

func TestUserDataTravelsByteForByteInRequestsAndRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "data")
		sent, err := json.Marshal(VMSpec{UserData: data})
		if err != nil {
			t.Fatal(err)
		}
		var in VMSpec
		if err := json.Unmarshal(sent, &in); err != nil {
			t.Fatal(err)
		}
		kept, err := json.Marshal(InstanceSpec{UserData: in.UserData})
		if err != nil {
			t.Fatal(err)
		}
		var out InstanceSpec
		if err := json.Unmarshal(kept, &out); err != nil || !bytes.Equal(out.UserData, data) {
			t.Fatalf("%v: %x came out as %x", err, data, out.UserData)
		}
	})
}
