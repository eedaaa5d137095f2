package render

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// kunitCounts is what kunit.py makes of a log.
type kunitCounts struct {
	Status  string `json:"status"`
	Passed  int    `json:"passed"`
	Failed  int    `json:"failed"`
	Crashed int    `json:"crashed"`
	Skipped int    `json:"skipped"`
	Errors  int    `json:"errors"`
	Subs    int    `json:"subs"`
}

// It prints as it reads, and since 6.15 wants to be told where to.
const kunitScript = `
import inspect, io, json, sys
sys.path.insert(0, sys.argv[1])
out, sys.stdout = sys.stdout, io.StringIO()
import kunit_parser, kunit_printer
args = [kunit_parser.extract_tap_lines(open(sys.argv[2], encoding="utf-8"))]
if len(inspect.signature(kunit_parser.parse_run_tests).parameters) > 1:
    args.append(kunit_printer.Printer())
t = kunit_parser.parse_run_tests(*args)
c = t.counts
json.dump(dict(status=t.status.name, passed=c.passed, failed=c.failed, crashed=c.crashed, skipped=c.skipped, errors=c.errors, subs=len(t.subtests)), out)
`

// kunitParser finds the kernel's own reader of KTAP in a kernel source.
func kunitParser() string {
	dirs := []string{os.Getenv("KMEMGATE_KUNIT")}
	if cache, err := os.UserCacheDir(); err == nil {
		found, _ := filepath.Glob(filepath.Join(cache, "kmemgate/sources/*/tools/testing/kunit"))
		deeper, _ := filepath.Glob(filepath.Join(cache, "kmemgate/sources/*/*/tools/testing/kunit"))
		dirs = append(append(dirs, found...), deeper...)
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "kunit_parser.py")); dir != "" && err == nil {
			return dir
		}
	}
	return ""
}

func TestKTAPReadByKunit(t *testing.T) {
	dir := kunitParser()
	if dir == "" {
		const cure = "no kernel source in the cache: kmemgate kernel build 6.12/x86_64, or set KMEMGATE_KUNIT to its tools/testing/kunit"
		if os.Getenv("CI") == "true" {
			t.Fatal(cure)
		}
		t.Skip(cure)
	}
	cmd := exec.Command("python3", "-B", "-c", kunitScript, dir, ktapFile(t, rendered(t, "ktap")))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	var got kunitCounts
	require.NoError(t, json.Unmarshal(out, &got))
	// Passed: two XFAIL and quiet. Failed: three leaks and three findings, the
	// leak on arm64, the run without a verdict. kunit.py knows no XFAIL and no ERROR.
	require.Equal(t, kunitCounts{Status: "FAILURE", Passed: 3, Failed: 8, Skipped: 1, Subs: 4}, got)
}

// TestKTAPReadByPerl has Perl's TAP::Parser read it: the top level of KTAP is TAP.
func TestKTAPReadByPerl(t *testing.T) {
	if _, err := exec.LookPath("perl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("perl is not there")
		}
		t.Skip("perl is not there")
	}
	const script = `use TAP::Parser; use JSON::PP;
my $p = TAP::Parser->new({exec => ["cat", $ARGV[0]]}); $p->run;
print encode_json({planned => $p->tests_planned, run => $p->tests_run, passed => [$p->passed], failed => [$p->failed], errors => [$p->parse_errors]});`
	out, err := exec.Command("perl", "-e", script, ktapFile(t, rendered(t, "ktap"))).Output()
	require.NoError(t, err)
	require.JSONEq(t, `{"planned":4,"run":4,"passed":[4],"failed":[1,2,3],"errors":[]}`, string(out))
}

func ktapFile(t *testing.T, text []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.ktap")
	require.NoError(t, os.WriteFile(file, text, 0o644))
	return file
}
