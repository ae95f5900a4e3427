package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// given is the value of a flag that says something, and says it once. Of two values one would be lost
// without a word, and an empty one is what a script gives whose variable is not set: to take it for a
// flag that was left out would pin no VM, or list the VMs of every project.
type given struct {
	pflag.Value
	as   string
	said bool
}

func (g *given) Set(text string) error {
	if text == "" {
		return refuse("it is empty; say a value, or leave the flag out")
	}
	if g.said && text != g.as && !g.repeats() {
		return refuse("it is given twice; it takes one value")
	}
	g.as, g.said = text, true
	return g.Value.Set(text)
}

func (g *given) repeats() bool {
	return strings.HasSuffix(g.Type(), "Array") || strings.HasSuffix(g.Type(), "Slice")
}

// mayBeEmpty are flags of which an empty value says something: that there is none.
var mayBeEmpty = map[string]bool{"description": true, "value": true}

// takeOnce makes the flags of a command and of all below it take one value, that says something.
func takeOnce(c *cobra.Command) {
	once := func(f *pflag.Flag) {
		if _, is := f.Value.(*given); is || f.Value.Type() == "bool" || mayBeEmpty[f.Name] {
			return
		}
		f.Value = &given{Value: f.Value}
		switch f.DefValue { // the help leaves out a default that says nothing, which it knows by types of its own
		case "[]", "0s":
			f.DefValue = ""
		}
	}
	c.PersistentFlags().VisitAll(once)
	c.Flags().VisitAll(once)
	for _, below := range c.Commands() {
		takeOnce(below)
	}
}
