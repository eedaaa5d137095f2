package faults_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var diskRows = []row{
	{"disk full while fetching", fullWhileFetching},
	{"disk full while building a kernel", fullWhileMaking},
	{"disk full while building a module", fullWhileBuilding},
	{"disk full while saving a template", fullWhileSaving},
	{"disk full in the temporary folder", fullTemp},
	{"disk full while writing the report", fullWhileReporting},
}

const (
	full     = "o space left on device"
	freeSome = "free some space"
)

// onSmallDisk moves the desk's cache to a disk of this size.
func (d *desk) onSmallDisk(t *testing.T, size string) string {
	t.Helper()
	disk := needMount(t, "size="+size)
	require.NoError(t, copyTree(d.xdg+"/.", disk))
	d.xdg = disk
	return disk
}

// asLinks leaves the desk's own entries where they are and moves only links.
func (d *desk) asLinks(t *testing.T, kinds ...string) {
	t.Helper()
	for _, kind := range kinds {
		aside := filepath.Join(d.dir, kind)
		require.NoError(t, os.Rename(filepath.Join(d.xdg, "kmemgate", kind), aside))
		require.NoError(t, os.Symlink(aside, filepath.Join(d.xdg, "kmemgate", kind)))
	}
}

func fullWhileFetching(t *testing.T) {
	d := newDesk(t, "templates", "controls", "userland")
	d.onSmallDisk(t, "2m")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for block, i := make([]byte, 1<<20), 0; i < 8; i++ {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	source := fmt.Sprintf("%s/linux-6.12.9.tar.xz#sha256=%064d", server.URL, 0)
	got := d.start(t, "run", "--kernel", source, "--arch", "x86_64", "--out", d.out, d.driver).wait()
	d.wantNone(t, got, "fetch "+server.URL, full, freeSome)
}

func fullWhileBuilding(t *testing.T) {
	d := newDesk(t, "modules")
	d.asLinks(t, "templates", "controls")
	disk := d.onSmallDisk(t, "6m")
	fill(t, disk, 128<<10)
	d.wantNone(t, d.run(t), "build-failed", "o space left on device", freeSome)
	require.NoError(t, os.Remove(filepath.Join(disk, "fill")))
	d.wantLeak(t, d.run(t))
}

func fullWhileSaving(t *testing.T) {
	d := newDesk(t, "templates", "controls")
	d.onSmallDisk(t, "24m")
	d.wantNone(t, d.run(t), "template: the disk is full", freeSome)
}

func fullTemp(t *testing.T) {
	d := newDesk(t)
	d.temp = needMount(t, "size=64k")
	fill(t, d.temp, 4<<10)
	got := d.run(t)
	require.NoError(t, os.Remove(filepath.Join(d.temp, "fill")))
	d.wantNone(t, got, full, freeSome)
}

func fullWhileReporting(t *testing.T) {
	d := newDesk(t)
	d.out = needMount(t, "size=512k")
	fill(t, d.out, 64<<10)
	got := d.run(t)
	d.wantNone(t, got, full, freeSome)
	report := filepath.Join(d.out, "report.json")
	require.NoFileExists(t, report, "half a report must not look like one")
	require.NoError(t, os.Remove(filepath.Join(d.out, "fill")))
	d.wantLeak(t, d.run(t))
	require.FileExists(t, report)
}

// fill takes a disk's space but for the last bytes.
func fill(t *testing.T, disk string, left int) {
	t.Helper()
	f, err := os.Create(filepath.Join(disk, "fill"))
	require.NoError(t, err)
	defer f.Close()
	block := []byte(strings.Repeat("x", 4<<10))
	for err == nil {
		_, err = f.Write(block)
	}
	info, err := f.Stat()
	require.NoError(t, err)
	require.NoError(t, f.Truncate(max(0, info.Size()-int64(left))))
}
