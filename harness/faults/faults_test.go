package faults_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// row is one thing that goes wrong.
type row struct {
	name string
	test func(t *testing.T)
}

// rows are all of them, in the order of docs/faults.md.
func rows() []row {
	return slices.Concat(diskRows, cacheRows, crowdRows, signalRows, qemuRows, hostRows, fetchRows)
}

// TestFaults brings each about.
func TestFaults(t *testing.T) {
	needBench(t)
	for _, r := range rows() {
		t.Run(r.name, r.test)
	}
}

// TestFaultsRed is the row that every change is tested by: no verdict, and why.
func TestFaultsRed(t *testing.T) { qemuKilled(t) }

// TestFaultsGreen is its counterpart: the run after one that was killed.
func TestFaultsGreen(t *testing.T) { killed(t, whileRunning) }

// TestDocs wants docs/faults.md to have a line for each row, and a test for
// each line: of TestFaults, or one that is named PACKAGE.TestName.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/faults.md")
	require.NoError(t, err)
	var documented, actual []string
	for _, line := range regexp.MustCompile("(?m)^\\|.*\\| `([^`]+)` \\|$").FindAllSubmatch(text, -1) {
		name := string(line[1])
		if elsewhere := regexp.MustCompile(`^([a-z/]+)\.(Test\w+)$`).FindStringSubmatch(name); elsewhere != nil {
			require.True(t, hasTest(t, "../../"+elsewhere[1], elsewhere[2]), "%s: no such test", name)
			continue
		}
		documented = append(documented, name)
	}
	for _, r := range rows() {
		actual = append(actual, r.name)
	}
	require.Equal(t, actual, documented)
}

// hasTest looks for a test in a package's files.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	want := regexp.MustCompile(`(?m)^func ` + name + `\(t \*testing\.T\)`)
	return slices.ContainsFunc(files, func(f os.DirEntry) bool {
		text, err := os.ReadFile(dir + "/" + f.Name())
		return err == nil && want.Match(text)
	})
}
