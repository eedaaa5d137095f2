package initramfs

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

func names(t *testing.T, archive []byte) []string {
	r := cpio.NewReader(bytes.NewReader(archive))
	var list []string
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		require.NoError(t, err)
		list = append(list, h.Name)
	}
}

func TestParentsComeFirst(t *testing.T) {
	b, err := archiveBytes([]File{{Name: "init"}, {Name: "a/b/c"}, {Name: "a/d"}, {Name: "a/b/e", Link: "c"}})
	require.NoError(t, err)
	assert.Equal(t, []string{"init", "a", "a/b", "a/b/c", "a/d", "a/b/e"}, names(t, b))
}

func TestArchiveIsReproducible(t *testing.T) {
	files := []File{{Name: "x", Content: []byte("1")}, {Name: "d/y", Mode: 0o755, Content: []byte("22")}}
	one, err := archiveBytes(files)
	require.NoError(t, err)
	two, err := archiveBytes(files)
	require.NoError(t, err)
	assert.Equal(t, one, two)
	assert.Zero(t, len(one)%4, "the kernel wants the next archive at a multiple of four")
}

// TestCpioReadsIt has the other reader at hand, cpio(1), read what we write.
func TestCpioReadsIt(t *testing.T) {
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Skip("no cpio here to compare with")
	}
	b, err := archiveBytes([]File{{Name: "dir/run", Mode: 0o755, Content: []byte("hello")}, {Name: "sh", Link: "dir/run"}})
	require.NoError(t, err)
	cmd := exec.Command("cpio", "-itv", "--quiet")
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	require.Len(t, lines, 3)
	assert.Regexp(t, `^drwxr-xr-x .* dir$`, lines[0])
	assert.Regexp(t, `^-rwxr-xr-x .* 5 .* dir/run$`, lines[1])
	assert.Regexp(t, `^lrwxrwxrwx .* sh -> dir/run$`, lines[2])
}

func TestNamesThatAreRefused(t *testing.T) {
	for _, name := range []string{"", ".", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", "TRAILER!!!", "a\x00b"} {
		_, err := archiveBytes([]File{{Name: name}})
		assert.Error(t, err, "%q", name)
	}
	_, err := archiveBytes([]File{{Name: "a"}, {Name: "a"}})
	assert.ErrorContains(t, err, "twice")
	_, err = archiveBytes([]File{{Name: "a"}, {Name: "a/b"}})
	assert.ErrorContains(t, err, "a file and a directory")
}

func TestJobIsFirst(t *testing.T) {
	job := wire.Job{Modules: []wire.JobModule{{Name: "foo", File: "modules/foo.ko"}}, Cycles: 3}
	region, err := JobRegion(job, []File{{Name: "modules/foo.ko", Content: []byte("ELF")}})
	require.NoError(t, err)
	archive, err := wire.ReadJob(bytes.NewReader(region), int64(len(region)))
	require.NoError(t, err)
	b, err := io.ReadAll(archive)
	require.NoError(t, err)
	assert.Equal(t, []string{"job.json", "modules", "modules/foo.ko"}, names(t, b))
}

func TestJobsThatAreRefused(t *testing.T) {
	ko := []File{{Name: "foo.ko"}}
	foo := []wire.JobModule{{Name: "foo", File: "foo.ko"}}
	for want, job := range map[string]wire.Job{
		`no file "bar.ko"`:   {Modules: []wire.JobModule{{Name: "bar", File: "bar.ko"}}},
		"with underscores":   {Modules: []wire.JobModule{{Name: "foo-bar", File: "foo.ko"}}},
		`no file "x.sh"`:     {Exercise: "x.sh"},
		"want on or off":     {Stack: "yes"},
		"no module to load":  {Walk: &wire.Walk{From: 1, To: 2}},
		"no step backwards":  {Modules: foo, Walk: &wire.Walk{From: 3, To: 2}},
		"no exercise to wal": {Modules: foo, Walk: &wire.Walk{From: 1, To: 2, Exercise: true}},
	} {
		_, err := JobArchive(job, ko)
		assert.ErrorContains(t, err, want)
	}
	_, err := JobRegion(wire.Job{}, []File{{Name: "big", Content: make([]byte, wire.RegionSize)}})
	assert.ErrorContains(t, err, "shared memory holds 64 MiB")
}
