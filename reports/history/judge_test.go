package history

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/reports"
)

// observe reads a picture of runs, oldest first: "x" saw the leak, "." did
// not, "k" saw it and it is in the baseline. A letter before it names the
// build; "|" begins the next night.
// Example: "Ax A. | Bx"
func observe(picture string, known bool) (runs []observation) {
	night := int64(1)
	for i, word := range strings.Fields(picture) {
		if word == "|" {
			night++
			continue
		}
		o := observation{run: int64(i + 1), at: int64(i + 1), night: night, build: int64(word[0]), known: known}
		switch word[1] {
		case 'x':
			o.status = reports.New
		case 'k':
			o.status = reports.Known
		case 't':
			o.status = reports.Transient
		}
		runs = append(runs, o)
	}
	return runs
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		why     string
		runs    string
		earlier int
		want    State
	}{
		{"one run alone", "A. | Bx", 0, Unconfirmed},
		{"a second run in the same night confirms", "A. | Bx Bx", 0, Regression},
		{"a second run in the next night confirms", "A. | Bx | Cx", 0, Regression},
		{"there from the start", "Ax | Bx", 0, Regression},
		{"it was seen before the window opened", "Bx", 7, Regression},
		{"gone on another build", "A. | Bx | Cx | D.", 0, Fixed},
		{"gone, but never confirmed", "A. | Bx | C.", 0, Gone},
		{"gone, confirmed before the window", "Bx | C.", 3, Fixed},
		{"both answers of one build", "Ax A.", 0, Flaky},
		{"both answers of one build, in two nights", "Ax | A.", 0, Flaky},
		{"both answers of one build, confirmed since", "Ax A. | Bx | Cx", 0, Flaky},
		{"there five times in a row since it flickered", "Ax A. | Bx | Cx | Dx | Ex | Fx", 0, Regression},
		{"flickers from build to build", "Ax | B. | Cx | D.", 0, Flaky},
		{"flickers from build to build, there now", "A. | Bx | C. | Dx", 0, Flaky},
		{"came back, one run so far", "Ax | Bx | C. | Dx", 0, Unconfirmed},
		{"came back, confirmed", "Ax | Bx | C. | Dx | Ex", 0, Regression},
		{"somebody accepted it", "A. | Bx | Ck", 0, Accepted},
		{"accepted and fixed", "A. | Bk | Ck | D.", 0, Fixed},
		{"transient is not there", "A. | Bt | Ct", 0, Gone},
		{"no runs", "", 0, Gone},
	} {
		require.Equal(t, c.want, judge(observe(c.runs, true), c.earlier).state, "%s: %s", c.why, c.runs)
	}
}

// Without the build's content, a kernel of the same release may be another
// build the next night: the driver has changed, say.
func TestJudgeUnknownBuilds(t *testing.T) {
	require.Equal(t, Fixed, judge(observe("A. | Ax | Ax | A.", false), 0).state)
	require.Equal(t, Flaky, judge(observe("A. | Ax A. | Ax", false), 0).state)
	require.Equal(t, Flaky, judge(observe("A. | Ax | Ax | A.", true), 0).state)
}

func TestJoinArchitectures(t *testing.T) {
	for _, c := range []struct {
		states []State
		want   State
	}{
		{[]State{Unconfirmed, Unconfirmed}, Regression}, // the second run was on the other architecture
		{[]State{Fixed, Regression}, Regression},
		{[]State{Flaky, Unconfirmed}, Flaky},
		{[]State{Flaky, Regression}, Regression},
		{[]State{Fixed, Accepted}, Accepted},
		{[]State{Gone, Gone}, Fixed},
		{[]State{Gone}, Gone},
	} {
		var courses []course
		for _, s := range c.states {
			courses = append(courses, course{state: s})
		}
		require.Equal(t, c.want, join(courses), "%v", c.states)
	}
}
