package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/scenarios"
)

// fifoDriver frees what it allocates: by the kernel's hands.
const fifoDriver = `// SPDX-License-Identifier: GPL-2.0
#include <linux/kfifo.h>
#include <linux/module.h>

static DECLARE_KFIFO_PTR(fifo, u32);

static int __init fifo_init(void)
{
	return kfifo_alloc(&fifo, 64, GFP_KERNEL);
}

static void __exit fifo_exit(void)
{
	kfifo_free(&fifo);
}

module_init(fifo_init);
module_exit(fifo_exit);

MODULE_DESCRIPTION("fifo");
MODULE_LICENSE("GPL");
`

// kernelHistory writes 16 commits of the whole kernel, each of which changes
// another file. The 11th has kfifo_free() forget the data.
func kernelHistory(t *testing.T, source string) (tree string, commits []string) {
	r := newRepository(t)
	r.git("-C", source, "--git-dir", filepath.Join(r.dir, ".git"), "--work-tree", source, "add", "--all", "--force")
	change := func(file, old, replacement, message string) {
		text := string(readFile(t, filepath.Join(source, file)))
		require.Contains(t, text, old)
		blob := filepath.Join(t.TempDir(), "blob")
		require.NoError(t, os.WriteFile(blob, []byte(strings.Replace(text, old, replacement, 1)), 0o644))
		r.git("update-index", "--cacheinfo", "100644,"+r.git("hash-object", "-w", blob)+","+file)
		r.git("commit", "--quiet", "--message", message)
		commits = append(commits, r.git("rev-parse", "HEAD"))
	}
	const include = "#include <linux/"
	for n, file := range []string{
		"lib/llist.c", "lib/plist.c", "lib/rbtree.c", "lib/sort.c", "lib/list_sort.c", "lib/klist.c", "lib/idr.c", "lib/xarray.c",
		"lib/kobject.c", "lib/bitmap.c", "lib/kfifo.c", "lib/string.c", "lib/vsprintf.c", "lib/ctype.c", "lib/cmdline.c", "lib/hexdump.c",
	} {
		if n == 10 {
			change(file, "\tkfree(fifo->data);\n", "", "kfifo: let go of the data")
			continue
		}
		change(file, include, fmt.Sprintf("/* version %d */\n%s", n, include), fmt.Sprintf("lib: version %d", n))
	}
	return r.dir, commits
}

// It builds a kernel from a source that no cache has, and five more on top: a
// quarter of an hour on two cores, so it runs only where it is asked for.
func TestBisectNamesThePlantedCommitOf16OfAKernel(t *testing.T) {
	if os.Getenv("KMEMGATE_TEST_BISECT_KERNEL") == "" {
		t.Skip("takes a quarter of an hour: make bisect")
	}
	gate := cachedGate(t, "6.12", "x86_64")
	k, err := gate.Builder.Path(t.Context(), kernels.Spec{Source: "6.12", Arch: "x86_64"})
	require.NoError(t, err)
	tree, commits := kernelHistory(t, k.Source)
	dir := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "fifo.c"), []byte(fifoDriver), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Kbuild"), []byte("obj-m := fifo.o\n"), 0o644))
	s, err := scenarios.Load(dir)
	require.NoError(t, err)
	s.Arches = []string{"x86_64"}

	begin := time.Now()
	history, err := NewKernelHistory(t.Context(), s, tree, commits[0], "HEAD", gate.Out)
	require.NoError(t, err)
	defer history.Close()
	result := bisected(t, &Bisect{Gate: gate, Versions: history}, begin)
	assert.Equal(t, commits[10], result.First.Version)
	assert.Contains(t, result.First.Title, "kfifo: let go of the data")
	assert.Contains(t, result.First.Why, "memory leak in fifo_init  fifo.c:")
	assert.LessOrEqual(t, len(result.Steps), 2+4, "two ends, four halvings")
}
