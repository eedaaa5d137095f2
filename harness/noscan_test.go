package harness

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/scenarios"
)

// askWhatIsScanned has kmemleak tell of the objects that begin where the kernel's
// zeroed and other data do, and prints where the parts lie that must not be in them,
// and which caches of the slab allocator have files in sysfs.
const askWhatIsScanned = `
for name in _sdata __bss_start mem_pool _printk_rb_static_infos; do
	line=$(grep " $name\$" /proc/kallsyms)
	echo $name=${line%% *}
done
for name in _sdata __bss_start; do
	line=$(grep " $name\$" /proc/kallsyms)
	printf %s dump=0x${line%% *} > /sys/kernel/debug/kmemleak
done
find /sys/kernel/slab -name objects
`

// TestNoScan asks a guest's kmemleak what it scans of the kernel's data: it ends where
// kmemleak's own notes and the kernel's log begin. Of the slab allocator's files those
// are left that the agent reads.
func TestNoScan(t *testing.T) {
	dir := askGuest(t, askWhatIsScanned)
	said, dmesg := readFile(t, filepath.Join(dir, "exercise.log")), readFile(t, filepath.Join(dir, "dmesg.txt"))
	for from, to := range map[string]string{"_sdata": "_printk_rb_static_infos", "__bss_start": "mem_pool"} {
		start, end := addressSaid(t, said, from), addressSaid(t, said, to)
		object := regexp.MustCompile(fmt.Sprintf(`kmemleak: Object 0x%x \(size (\d+)\)`, start)).FindSubmatch(dmesg)
		require.NotNil(t, object, "%s is not scanned", from)
		size, err := strconv.ParseUint(string(object[1]), 10, 64)
		require.NoError(t, err)
		assert.LessOrEqual(t, start+size, end, "%s is scanned with %s", to, from)
		assert.NotZero(t, size)
	}
	assert.Equal(t, []string{"/sys/kernel/slab/kmemleak_object/objects"}, regexp.MustCompile(`(?m)^/sys/kernel/slab/.*$`).FindAllString(string(said), -1))
}

// askGuest has a guest run a script, and returns the folder of its evidence.
func askGuest(t *testing.T, script string) string {
	t.Helper()
	gateKernel(t)
	gate := testGate(t)
	s, err := scenarios.Load("../scenarios/clean")
	require.NoError(t, err)
	s.Kernels, s.Arches, s.Exercise = []string{"6.12"}, []string{"x86_64"}, script
	return filepath.Join(gate.Out, gateOnce(t, gate, s).Dir)
}

func addressSaid(t *testing.T, said []byte, name string) uint64 {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + `=([0-9a-f]+)$`).FindSubmatch(said)
	require.NotNil(t, m, "%s in %q", name, said)
	n, err := strconv.ParseUint(string(m[1]), 16, 64)
	require.NoError(t, err)
	return n
}
