package identity

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/store"
)

const goodPassword = "four words and one more"

// ann makes a user of a project, by an administrator.
func (y *cloud) ann(role string) {
	y.t.Helper()
	y.want(201, y.as(y.admin, "POST", "/v1/projects", `{"name":"shop","spec":{}}`))
	y.want(201, y.as(y.admin, "POST", "/v1/users", `{"name":"ann","spec":{"role":"`+role+`","projectID":"shop","password":"`+goodPassword+`"}}`))
}

// password signs in by a name and a password.
func (y *cloud) password(user, password string) (*browser, answer) {
	y.t.Helper()
	b := &browser{y: y}
	return b, b.ask("POST", "/v1/sign-in", fmt.Sprintf(`{"user":%q,"password":%q}`, user, password))
}

func TestAUserSignsInByAPasswordThatNobodySees(t *testing.T) {
	y := newCloud(t)
	y.ann("member")
	b, a := y.password("ann", goodPassword)
	y.want(200, a)
	if me := y.who(b); me.User != "ann" || me.Right != "write" || me.Project != "shop" {
		t.Errorf("ann is %+v", me)
	}
	text := string(y.as(y.admin, "GET", "/v1/users/ann", "").body)
	if strings.Contains(text, "argon2") || strings.Contains(text, "password") {
		t.Errorf("the record shows it: %s", text)
	}
	if u := store.Named(y.db.Snapshot(), Users, "", "ann"); u.Spec.Password != "" || !strings.HasPrefix(u.Spec.PasswordHash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("kept is %q, %q", u.Spec.Password, u.Spec.PasswordHash)
	}
	for _, wrong := range [][2]string{{"ann", "four words and one mor"}, {"ann", ""}, {"bob", goodPassword}, {"ANN", goodPassword}} {
		if _, a := y.password(wrong[0], wrong[1]); a.status != 401 || !strings.Contains(a.problem().Detail, "the name or the password is wrong") {
			t.Errorf("%v: %d %s", wrong, a.status, a.body)
		}
	}
	y.want(422, y.as(y.admin, "POST", "/v1/users", `{"name":"bob","spec":{"role":"admin","password":"short"}}`))
	y.want(422, y.as(y.admin, "POST", "/v1/users", `{"name":"bob","spec":{"role":"viewer"}}`))
	y.want(403, b.ask("POST", "/v1/users", `{"name":"eve","spec":{"role":"admin","password":"`+goodPassword+`"}}`))
}

// A user without a password is let in by no password, and a hash that a request brings is not taken.
func TestAUserWithoutAPasswordIsNotLetIn(t *testing.T) {
	y := newCloud(t)
	y.want(201, y.as(y.admin, "POST", "/v1/users", `{"name":"bob","spec":{"role":"admin","passwordHash":"$argon2id$v=19$m=19456,t=2,p=1$AA$AA"}}`))
	if u := store.Named(y.db.Snapshot(), Users, "", "bob"); u.Spec.PasswordHash != "" {
		t.Errorf("kept is %q", u.Spec.PasswordHash)
	}
	if _, a := y.password("bob", ""); a.status != 401 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestAChangeOfAUserHoldsForTheirSessions(t *testing.T) {
	y := newCloud(t)
	y.ann("viewer")
	b, a := y.password("ann", goodPassword)
	y.want(200, a)
	y.want(200, y.as(y.admin, "PATCH", "/v1/users/ann", `{"spec":{"role":"member"}}`))
	if me := y.who(b); me.Right != "write" {
		t.Errorf("a member has the right to %s", me.Right)
	}
	other, _ := y.password("ann", goodPassword)
	y.want(401, b.ask("POST", "/v1/password", `{"current":"wrong","password":"another four words"}`))
	y.want(422, b.ask("POST", "/v1/password", `{"current":"`+goodPassword+`","password":"short"}`))
	y.want(204, b.ask("POST", "/v1/password", `{"current":"`+goodPassword+`","password":"another four words"}`))
	y.want(200, b.ask("GET", "/v1/whoami", ""))
	y.want(401, other.ask("GET", "/v1/whoami", ""))
	if _, a := y.password("ann", goodPassword); a.status != 401 {
		t.Errorf("the old password is good for %d", a.status)
	}
	y.want(200, y.as(y.admin, "PATCH", "/v1/users/ann", `{"spec":{"password":"set by an administrator"}}`))
	y.want(401, b.ask("GET", "/v1/whoami", ""))
	last, a := y.password("ann", "set by an administrator")
	y.want(200, a)
	y.want(204, y.as(y.admin, "DELETE", "/v1/users/ann", ""))
	y.want(401, last.ask("GET", "/v1/whoami", ""))
	y.want(409, y.signIn(y.admin).ask("POST", "/v1/password", `{"current":"x","password":"another four words"}`))
}

func TestWhoGuessesIsSlowedDownAndLocksNobodyElseOut(t *testing.T) {
	y := newCloud(t)
	y.ann("member")
	for range wrongAtOnce {
		if _, a := y.password("ann", "guess"); a.status != 401 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if _, a := y.password("ann", goodPassword); a.status != 503 || !strings.Contains(a.problem().Detail, "too many wrong passwords from here") {
		t.Errorf("%d %s", a.status, a.body)
	}
	p := newPasswords(func() time.Time { return time.Unix(0, 0) })
	for range wrongAtOnce {
		p.failed("ann\n192.0.2.1")
	}
	if p.mayTry("ann\n192.0.2.1") || !p.mayTry("ann\n192.0.2.2") || !p.mayTry("bob\n192.0.2.1") {
		t.Error("who guesses locks out somebody else, or not themselves")
	}
	y.ahead.Add(int64(wrongEvery))
	_, a := y.password("ann", goodPassword)
	y.want(200, a)
}

func TestTheUsersOfAProjectGoWithIt(t *testing.T) {
	y := newCloud(t)
	y.ann("member")
	b, _ := y.password("ann", goodPassword)
	y.want(202, y.as(y.admin, "DELETE", "/v1/projects/shop", ""))
	y.want(401, b.ask("GET", "/v1/whoami", ""))
	y.caughtUp()
	if n := len(store.Every(y.db.Snapshot(), Users)); n != 0 {
		t.Errorf("%d users are left", n)
	}
}

func TestOnlySoManyPasswordsAreHashedAtATime(t *testing.T) {
	p := newPasswords(time.Now)
	for range waiting {
		p.queue <- struct{}{}
	}
	if err := p.prove(t.Context(), "ann", "", "x", ""); err == nil || !strings.Contains(err.Error(), "too many sign in") {
		t.Errorf("%v", err)
	}
}
