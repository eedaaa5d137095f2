package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/initramfs"
	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// FuzzJob unpacks any bytes as a job. Nothing lies outside of the folder then,
// and nothing in it is more than a file or a folder; and what was unpacked is,
// packed and unpacked again, the same.
func FuzzJob(f *testing.F) {
	job := wire.Job{Modules: []wire.JobModule{{Name: "a", File: "modules/a.ko", UnderTest: true}}, Exercise: "exercise.sh", Cycles: 2}
	whole, err := initramfs.JobArchive(job, []initramfs.File{
		{Name: "modules/a.ko", Content: []byte("\x7fELF")}, {Name: "exercise.sh", Mode: 0o755, Content: []byte("true\n")},
	})
	require.NoError(f, err)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(packed(f, initramfs.File{Name: "x", Link: "/etc/passwd"}))
	for _, name := range []string{"../evil", "/tmp/evil"} {
		// Archive refuses such a name: it is written over one of the same length.
		fake := bytes.Repeat([]byte("x"), len(name))
		f.Add(bytes.ReplaceAll(packed(f, initramfs.File{Name: string(fake), Content: []byte("evil")}), fake, []byte(name)))
	}
	f.Fuzz(func(t *testing.T, archive []byte) {
		around := t.TempDir() // so that what escapes by one or two steps is seen
		dir := filepath.Join(around, "a", "job")
		job, err := unpackJob(bytes.NewReader(archive), dir)
		outside, globErr := filepath.Glob(filepath.Join(around, "*"))
		require.NoError(t, globErr)
		inside, globErr := filepath.Glob(filepath.Join(around, "a", "*"))
		require.NoError(t, globErr)
		require.Subset(t, []string{filepath.Dir(dir), dir}, append(outside, inside...))
		files := filesBelow(t, dir)
		if err != nil {
			return
		}
		text, err := json.Marshal(job)
		require.NoError(t, err)
		again := filepath.Join(around, "again")
		twice, err := unpackJob(bytes.NewReader(packedFiles(t, append([]initramfs.File{{Name: wire.JobFile, Content: text}}, files...))), again)
		require.NoError(t, err)
		twiceText, err := json.Marshal(twice)
		require.NoError(t, err)
		require.Equal(t, string(text), string(twiceText))
		require.Equal(t, files, filesBelow(t, again))
	})
}

// packed is a job without anything, and one file.
func packed(t testing.TB, file initramfs.File) []byte {
	return packedFiles(t, []initramfs.File{{Name: wire.JobFile, Content: []byte("{}")}, file})
}

func packedFiles(t testing.TB, files []initramfs.File) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, initramfs.Archive(&b, files))
	return b.Bytes()
}

// filesBelow reads what was unpacked, but for a second job.json, which says
// nothing: the agent goes by the first.
func filesBelow(t *testing.T, dir string) []initramfs.File {
	t.Helper()
	var files []initramfs.File
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		require.True(t, d.Type().IsRegular(), "%s is %v", path, d.Type())
		info, err := d.Info()
		require.NoError(t, err)
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		name, err := filepath.Rel(dir, path)
		require.NoError(t, err)
		if name != wire.JobFile {
			// To initramfs.File no permissions at all mean the usual ones.
			mode := cmp.Or(uint32(info.Mode()), 0o644)
			files = append(files, initramfs.File{Name: name, Mode: mode, Content: content})
		}
		return nil
	})
	if !os.IsNotExist(err) {
		require.NoError(t, err)
	}
	return files
}
