package metadata

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const longestToken = 21600 // seconds, as EC2 has it

func newKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return key
}

// token hands out a token: until when it is good, sealed for the one who asks.
func (s *server) token(w http.ResponseWriter, r *http.Request, who string) {
	if r.Method != http.MethodPut {
		http.Error(w, "a token is asked for with PUT", http.StatusMethodNotAllowed)
		return
	}
	seconds, err := strconv.Atoi(r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds"))
	if err != nil || seconds < 1 || seconds > longestToken {
		http.Error(w, fmt.Sprintf("X-aws-ec2-metadata-token-ttl-seconds is to be between 1 and %d", longestToken), http.StatusBadRequest)
		return
	}
	w.Header().Set("X-aws-ec2-metadata-token-ttl-seconds", strconv.Itoa(seconds))
	fmt.Fprint(w, s.owner.newToken(who, time.Duration(seconds)*time.Second))
}

func (r *Responder) newToken(who string, good time.Duration) string {
	until := binary.BigEndian.AppendUint64(nil, uint64(r.now().Add(good).Unix()))
	return base64.URLEncoding.EncodeToString(append(until, r.seal(until, who)...))
}

func (r *Responder) validToken(token, who string) bool {
	raw, err := base64.URLEncoding.DecodeString(token)
	if err != nil || len(raw) != 8+sha256.Size {
		return false
	}
	return hmac.Equal(raw[8:], r.seal(raw[:8], who)) && r.now().Unix() < int64(binary.BigEndian.Uint64(raw[:8]))
}

func (r *Responder) seal(until []byte, who string) []byte {
	h := hmac.New(sha256.New, r.key)
	h.Write(until)
	h.Write([]byte(who))
	return h.Sum(nil)
}
