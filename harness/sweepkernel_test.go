package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
)

// plant is a leak in a copy of a module of the kernel: a line that frees is
// taken out, or one that forgets is put in.
type plant struct {
	from     string // the module's file or folder in the kernel's tree
	file     string // the file in which it is
	old, new string
	leak     string // what the line says that allocates
	function string
}

var plants = map[string]plant{
	"dummy": {
		from: "drivers/net/dummy.c", file: "dummy.c",
		old:      "\tdev->needs_free_netdev = true;\n",
		leak:     `alloc_netdev(0, "dummy%d"`,
		function: "dummy_init_one",
	},
	"zram": {
		from: "drivers/block/zram", file: "zram_drv.c",
		old:      "\tput_disk(zram->disk);\n\tkfree(zram);\n\treturn 0;\n",
		new:      "\tput_disk(zram->disk);\n\treturn 0;\n",
		leak:     "kzalloc(sizeof(struct zram)",
		function: "zram_add",
	},
	"nls_koi8_r": {
		from: "fs/nls/nls_koi8-r.c", file: "nls_koi8-r.c",
		old:      "\treturn register_nls(&table);\n",
		new:      "\ttable.charset2upper = kmemdup(charset2upper, sizeof(charset2upper), GFP_KERNEL);\n\treturn register_nls(&table);\n",
		leak:     "kmemdup(charset2upper",
		function: "init_nls_koi8_r",
	},
}

// copyTo writes the changed module into a folder and returns the leak's line.
func (p plant) copyTo(t *testing.T, dir, tree string) int {
	t.Helper()
	from := filepath.Join(tree, p.from)
	if strings.HasSuffix(p.from, ".c") {
		require.NoError(t, os.WriteFile(filepath.Join(dir, p.file), readFile(t, from), 0o644))
		object := strings.TrimSuffix(p.file, ".c") + ".o"
		require.NoError(t, os.WriteFile(filepath.Join(dir, "Kbuild"), []byte("obj-m := "+object+"\n"), 0o644))
	} else {
		require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
	}
	text := string(readFile(t, filepath.Join(dir, p.file)))
	require.Equal(t, 1, strings.Count(text, p.old), "%s: %q", p.file, p.old)
	text = strings.Replace(text, p.old, p.new, 1)
	require.NoError(t, os.WriteFile(filepath.Join(dir, p.file), []byte(text), 0o644))
	before, _, found := strings.Cut(text, p.leak)
	require.True(t, found, p.leak)
	return strings.Count(before, "\n") + 1
}

// passedOver are the modules of sweep.config that are not judged, with the reason.
var passedOver = map[string]string{
	"i2c_stub":      "not applicable: its load was refused with ENODEV: i2c-stub: Please specify a chip address",
	"kmemleak_test": "left out: it leaks on purpose",
	"rtc_test":      "left out: alarmtimer keeps a reference",
	"test_ida":      "left out: it leaves a stale pointer",
	"test_kstrtox":  "not applicable: test_kstrtox has an init function and no exit function",
}

// Of all the modules of sweep.config exactly those are named that leak, with the
// line, on both architectures; all others are clean, or are known not to be judged.
func TestSweepOfAKernelNamesThePlantedLeaks(t *testing.T) {
	for _, arch := range []string{"x86_64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			s := kernelSweep(t, arch)
			lines := plantAll(t, s)
			report, err := s.Run(t.Context())
			require.NoError(t, err)
			assert.Greater(t, len(report.Runs), 60)
			for _, run := range report.Runs {
				line, planted := lines[run.Scenario]
				switch reason := passedOver[run.Scenario]; {
				case planted:
					checkPlanted(t, run, line)
					delete(lines, run.Scenario)
				case reason != "":
					assert.Equal(t, reports.Skipped, run.Verdict, run.Scenario)
					assert.Contains(t, run.Reason, reason)
				default:
					assert.Equal(t, reports.Clean, run.Verdict, "%s: %s %s", run.Scenario, run.Reason, run.Detail)
				}
			}
			assert.Empty(t, lines, "planted and not swept")
		})
	}
}

// plantAll has the sweep take the changed modules in place of the kernel's, and
// returns the lines that leak, by module.
func plantAll(t *testing.T, s *Sweep) map[string]int {
	t.Helper()
	config, err := s.Gate.config(s.Scenario)
	require.NoError(t, err)
	k, err := s.Gate.Builder.Kernel(t.Context(), kernels.Spec{Source: "6.12", Arch: s.Scenario.Arches[0], Config: config})
	require.NoError(t, err)
	lines := map[string]int{}
	for name, p := range plants {
		dir := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.Mkdir(dir, 0o755))
		lines[name] = p.copyTo(t, dir, k.Source)
		s.Extra = append(s.Extra, dir)
	}
	return lines
}

// checkPlanted wants a leak at the line, and none anywhere else.
func checkPlanted(t *testing.T, run reports.Run, line int) {
	t.Helper()
	p := plants[run.Scenario]
	assert.Equal(t, reports.Leaks, run.Verdict, "%s: %s %s", run.Scenario, run.Reason, run.Detail)
	assert.NotEmpty(t, run.Leaks)
	for _, l := range run.Leaks {
		assert.Equal(t, run.Scenario, l.Module)
		assert.Equal(t, p.function, l.Function)
		assert.Equal(t, p.file, l.File)
		assert.Equal(t, line, l.Line)
	}
}
