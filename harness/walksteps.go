package harness

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/kmemgate/kmemgate/initramfs/wire"
	"github.com/kmemgate/kmemgate/reports"
)

// stepMark is what the agent writes into the kernel's log around each step.
var stepMark = regexp.MustCompile(`(?m)^.*kmemgate: walk step (\d+) (begins|ends)\r?$`)

// splitSteps gives each step its part of the kernel's log. The step that the
// guest did not survive may be in the log only: its WalkStep message never came.
// Nothing after such a step counts, so what follows one is cut off.
func splitSteps(c *reports.Capture, asked reports.WalkData) {
	said := map[int]reports.WalkStep{}
	if c.Walk != nil {
		for _, s := range c.Walk.Steps {
			said[s.N] = s
		}
	}
	c.Walk = &asked
	log := c.Dmesg
	if len(log) == 0 {
		log = c.Console
	}
	marked := markedSteps(log)
	for i, m := range marked {
		step, told := said[m.n]
		if m.n < asked.From || m.n > asked.To {
			continue // not our agent's mark
		}
		step.N, step.Dmesg = m.n, m.log
		step.Died = diedOf(c.Reason, m, told, i == len(marked)-1)
		if step.Died == reports.ReasonStuck {
			step.Why = strings.TrimPrefix(c.Detail, fmt.Sprintf("walk step %d: ", m.n))
		}
		if step.Died != "" {
			step.Injected = true
			c.Reason, c.Detail = "", "" // the step's finding says it
		}
		if told || step.Died != "" {
			c.Walk.Steps = append(c.Walk.Steps, step)
		}
		if step.Died != "" {
			return
		}
	}
}

// stepSeconds is the guest time that a guest's steps took, by the agent's marks.
func stepSeconds(c *reports.Capture) float64 {
	log := c.Dmesg
	if len(log) == 0 {
		log = c.Console
	}
	marks := stepMark.FindAll(log, -1)
	if len(marks) == 0 {
		return 0
	}
	return max(0, stamp(marks[len(marks)-1])-stamp(marks[0]))
}

// markedStep is a step as the kernel's log has it.
type markedStep struct {
	n     int
	log   string
	ended bool // the agent was there to say so
}

// markedSteps cuts the log at the agent's marks.
func markedSteps(log []byte) []markedStep {
	var steps []markedStep
	marks := stepMark.FindAllSubmatchIndex(log, -1)
	for i, m := range marks {
		n, err := strconv.Atoi(string(log[m[2]:m[3]]))
		if err != nil || string(log[m[4]:m[5]]) != "begins" {
			continue
		}
		end, ended := len(log), false
		if i+1 < len(marks) {
			end, ended = marks[i+1][0], true
		}
		steps = append(steps, markedStep{n, string(bytes.TrimSpace(log[m[1]:end])), ended})
	}
	return steps
}

// diedOf tells how a step brought its guest down, if it did. told means that the
// step's message came, last that the guest began no other.
func diedOf(reason string, m markedStep, told, last bool) string {
	switch {
	case reason == reports.ReasonPanic && last && !m.ended:
		return reports.ReasonPanic
	case reports.Oopsed([]byte(m.log)):
		return reports.ReasonOops
	case !last:
		return ""
	}
	switch reason {
	case reports.ReasonHang:
		if !m.ended {
			return reports.ReasonHang
		}
	case wire.ReasonLoadHang, wire.ReasonUnloadHang, wire.ReasonExerciseHang:
		return reports.ReasonHang
	case wire.ReasonUnloadFailed:
		if told {
			return reports.ReasonStuck
		}
	}
	return ""
}
