package scenarios

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const full = `# everything at once
kernels: ["6.12", "6.1"]
arches: [x86_64, arm64]
kconfig:
  - CONFIG_VIDEO_DEV=m
  - CONFIG_DEBUG_KMEMLEAK_MEM_POOL_SIZE=200
build: src
modules:
  - videodev
  - {name: v4l2loopback, params: devices=2}
exercise: |
  cat /sys/class/video4linux/video0/name
files: [tools/exerciser]
cycles: 3
error_paths: all
devices: ["edu"]
clock: real
unload: false
cmdline: "slub_debug=P"
memory: 256M
timeout: 90s
stack: "off"
suppress:
  - {match: "memory leak in foo_*", reason: "fixed in 6.14", expires: 2027-03-01}
expect:
  - kernels: [">=7"]
    why: the object is percpu there
    verdict: leaks
    leaks: [{function: leak_in_probe, count: 3, size: 64, kind: percpu}]
  - verdict: none
    reason: detector-off
    dmesg: ["kmemleak: .*"]
`

func TestParseReadsEveryKey(t *testing.T) {
	s, err := Parse("kmemgate.yml", []byte(full))
	require.NoError(t, err)
	require.Equal(t, []string{"6.12", "6.1"}, s.Kernels)
	require.Equal(t, []string{"x86_64", "arm64"}, s.Arches)
	require.Equal(t, []int{5, 6}, s.KconfigLines)
	require.Equal(t, []Module{{Name: "videodev"}, {Name: "v4l2loopback", Params: "devices=2"}}, s.Modules)
	require.Equal(t, "cat /sys/class/video4linux/video0/name\n", s.Exercise)
	require.Equal(t, ErrorPaths("all"), s.ErrorPaths)
	require.False(t, *s.Unload)
	require.Equal(t, 90*time.Second, s.Timeout)
	require.Equal(t, "off", s.Stack)
	require.Equal(t, 24, s.Suppress[0].Line)
	require.Equal(t, "2027-03-01", s.Suppress[0].Expires)
	require.Len(t, s.Expect, 2)
	require.Equal(t, []ExpectedLeak{{Function: "leak_in_probe", Count: 3, Size: 64, Kind: "percpu"}}, s.Expect[0].Leaks)
	require.Equal(t, "detector-off", s.Expect[1].Reason)
}

func TestParseFillsInDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing but this\n", "---\n", "null\n", "modules: [foo]\n"} {
		s, err := Parse("kmemgate.yml", []byte(text))
		require.NoError(t, err, "%q", text)
		require.Equal(t, []string{"6.12"}, s.Kernels)
		require.Equal(t, []string{HostArch()}, s.Arches)
		require.Equal(t, 1, s.Cycles)
		require.True(t, *s.Unload)
		require.Equal(t, "warp", s.Clock)
		require.Equal(t, time.Minute, s.Timeout)
		require.Equal(t, "new", s.FailOn)
		require.Equal(t, ErrorPaths("false"), s.ErrorPaths)
		require.Empty(t, s.Memory)
	}
}

func TestOneExpectationNeedsNoList(t *testing.T) {
	s, err := Parse("kmemgate.yml", []byte("expect: {verdict: clean}\n"))
	require.NoError(t, err)
	require.Equal(t, Expectations{{Verdict: "clean"}}, s.Expect)
}

// Each case: the file, the line of the mistake, and words of the message.
func TestParseRefuses(t *testing.T) {
	cases := map[string]struct {
		text string
		line int
		want string
	}{
		"unknown key":           {"cycles: 1\ncylces: 2\n", 2, `unknown field "cylces"`},
		"unknown key inside":    {"modules:\n  - {name: a, parms: b}\n", 2, `unknown field "parms"`},
		"unknown key, expect":   {"expect:\n  verdict: clean\n  leak: []\n", 3, `unknown field "leak"`},
		"duplicate key":         {"cycles: 1\ncycles: 2\n", 2, "already defined"},
		"list for a number":     {"cycles:\n  [1]\n", 2, "want a whole number"},
		"text for a list":       {"arches: x86_64\n", 1, "want a list"},
		"a list at the top":     {"- a\n", 1, "want keys and values"},
		"kernel as a number":    {"kernels: [6.10]\n", 1, `write "6.10" with the quotes`},
		"kernel of an expect":   {"expect:\n- verdict: clean\n  why: x\n  kernels: [6.1]\n", 4, "with the quotes"},
		"no such architecture":  {"arches:\n- x86_64\n- mips\n", 3, "want x86_64 or arm64"},
		"clock":                 {"clock: fast\n", 1, "want warp or real"},
		"stack":                 {"stack: maybe\n", 1, "want on or off"},
		"build, absolute":       {"build: /src\n", 1, "build: \"/src\" is absolute"},
		"build, no directory":   {"build:\n- a\n- \"\"\n", 3, "build[1]: names no directory"},
		"build, above":          {"build: [a, ../b]\n", 1, "put this file above all that it builds"},
		"build, twice":          {"build:\n- a\n- b\n- ./a\n", 4, `build[2]: "./a" is named twice`},
		"build, not texts":      {"build: {a: b}\n", 1, "build"},
		"error paths":           {"error_paths: some\n", 1, "want true, false, or words of all, exercise and the number"},
		"error paths, two":      {"error_paths: 3,4\n", 1, "want true, false, or words of all, exercise and the number"},
		"error paths, not":      {"error_paths: false,4\n", 1, "want true, false, or words of all, exercise and the number"},
		"duration without unit": {"timeout: 60\n", 1, "timeout: want a duration such as 60s"},
		"duration below zero":   {"timeout: -5s\n", 1, "out of range"},
		"memory":                {"memory: 256\n", 1, "want 64M to 64G"},
		"too little memory":     {"memory: 8M\n", 1, "want 64M to 64G"},
		"no cycles":             {"cycles: 0\n", 1, "want 1 to 1000"},
		"kconfig":               {"kconfig:\n- CONFIG_A=y\n- DEBUG\n", 3, "want CONFIG_NAME=y"},
		"module name":           {"modules: [../x]\n", 1, "no module name"},
		"params on two lines":   {"modules:\n- name: a\n  params: \"x\\ny\"\n", 3, "want one line"},
		"absolute file":         {"files: [/etc/passwd]\n", 1, "leaves this directory"},
		"file above":            {"files: [a/../../b]\n", 1, "leaves this directory"},
		"device with blank":     {"devices: [\"edu -x\"]\n", 1, "no QEMU device"},
		"suppress, no reason":   {"suppress:\n- match: a\n", 2, "has no reason"},
		"suppress, nothing":     {"suppress:\n- reason: a\n", 2, "neither match nor signature"},
		"suppress, both":        {"suppress:\n- {match: a, signature: b, reason: c}\n", 2, "keep one"},
		"broken glob":           {"suppress:\n- {match: \"[a\", reason: c}\n", 2, "broken glob"},
		"broken date":           {"suppress:\n- {match: a, reason: c, expires: 2027-02-30}\n", 2, "want YYYY-MM-DD"},
		"verdict":               {"expect: {verdict: green}\n", 1, "want clean or leaks or none or skipped"},
		"leaks unnamed":         {"expect: {verdict: leaks}\n", 1, "no leaks are listed"},
		"none without reason":   {"expect: {verdict: none}\n", 1, "none without reason"},
		"narrowed without why":  {"expect: {verdict: clean, kernels: [\"6.1\"]}\n", 1, "without why"},
		"kernel pattern":        {"expect: {verdict: clean, why: x, kernels: [\"7.x\"]}\n", 1, "names no kernel"},
		"broken regexp":         {"expect:\n  verdict: clean\n  dmesg:\n  - a\n  - \"(\"\n", 5, "missing closing"},
		"kind of leak":          {"expect:\n  verdict: leaks\n  leaks:\n  - {kind: page}\n", 4, "want object or percpu or phys"},
		"anchor":                {"exercise: &a x\ncmdline: *a\n", 1, "aliases"},
		"two documents":         {"cycles: 1\n---\ncycles: 2\n", 3, "second YAML document"},
		"brackets without end":  {"a: 1\nb: " + strings.Repeat("[", 300), 2, "nested more than"},
		"dashes without end":    {strings.Repeat("- ", 300), 1, "nested more than"},
		"no YAML":               {"cycles: 1\n\t: [\n", 2, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("kmemgate.yml", []byte(c.text))
			var broken *Error
			require.ErrorAs(t, err, &broken)
			require.Equal(t, c.line, broken.Mistakes[0].Line, "%v", err)
			require.Contains(t, err.Error(), c.want)
			require.True(t, strings.HasPrefix(err.Error(), "kmemgate.yml:"), "%v", err)
		})
	}
}

func TestParseNamesEveryMistake(t *testing.T) {
	_, err := Parse("f", []byte("clock: a\nstack: b\nmemory: c\n"))
	require.Equal(t, 3, strings.Count(err.Error(), "f:"), "%v", err)
}

func TestLoadOfABareDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "driver")
	require.NoError(t, os.Mkdir(dir, 0o755))
	s, err := Load(dir)
	require.NoError(t, err)
	require.Equal(t, "driver", s.Name)
	require.Equal(t, dir, s.Dir)
	require.Equal(t, Directories{"."}, s.Build)
}

func TestLoadFindsOutWhatThereIsToBuild(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	write(FileName, "modules: [kmemleak-test]\n")
	s, err := Load(dir)
	require.NoError(t, err)
	require.Empty(t, s.Build, "modules but nothing to build: the kernel's own")

	write("Kbuild", "obj-m := x.o\n")
	s, err = Load(dir)
	require.NoError(t, err)
	require.Equal(t, Directories{"."}, s.Build)
}

func TestLoadOfSeveralDirectoriesToBuild(t *testing.T) {
	dir := t.TempDir()
	for _, part := range []string{"core", "client"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, part), 0o755))
	}
	for text, want := range map[string]Directories{
		"build: [core, client]\n": {"core", "client"}, "build: [core]\n": {"core"}, "build: core\n": {"core"}, "build: ../x/..\n": {"../x/.."},
	} {
		s, err := Parse(FileName, []byte(text))
		require.NoError(t, err)
		require.Equal(t, want, s.Build, text)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, FileName), []byte("build:\n- core\n- clint\n"), 0o644))
	_, err := Load(dir)
	require.ErrorContains(t, err, `kmemgate.yml:3: build[1]: "clint" is no directory here`)
}

func TestLoadRefusesWhatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	load := func(text string) error {
		require.NoError(t, os.WriteFile(filepath.Join(dir, FileName), []byte(text), 0o644))
		_, err := Load(dir)
		return err
	}
	require.ErrorContains(t, load("cycles: 2\n"), "nothing to build")
	require.ErrorContains(t, load("build: src\n"), `kmemgate.yml:1: build: "src" is no directory`)
	require.ErrorContains(t, load("modules: [a]\nfiles: [tool]\n"), `kmemgate.yml:2: files[0]: "tool" is not there`)

	_, err := Load(filepath.Join(dir, "no-such"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Load(filepath.Join(dir, FileName))
	require.ErrorContains(t, err, "is a file")
}

func TestDevicesStayInTheGuest(t *testing.T) {
	for _, device := range []string{
		"loader,file=secret,addr=0x100000", "LOADER,file=x", "guest-loader,kernel=x,addr=1", "loader", "driver=loader,file=x",
		"e1000,romfile=id_rsa", "pci-testdev,file=x", "usb-mtp,rootdir=x", "usb-mtp,x-root=x", "usb-host,hostbus=1", "vfio-pci,host=00.0",
		"vhost-vsock-pci,guest-cid=3", "virtio-9p-pci,fsdev=x", "ipmi-bmc-sim,id=b,sdrfile=x", "u2f-emulated,dir=x", "virtserialport,chardev=qmp",
		"isa-serial,chardev=qmp", "e1000,netdev=n", "ccid-card-emulated,db=x", "usb-redir,chardev=qmp", "scsi-generic,drive=x",
	} {
		_, err := Parse("f", []byte("devices: [edu, \""+device+"\"]\n"))
		require.ErrorContains(t, err, "reaches out of the guest; want a device that QEMU plays by itself", device)
		require.ErrorContains(t, err, "f:1: devices[1]: ")
	}
	for _, device := range []string{"edu", "usb-kbd,port=1", "e1000,romfile=", "qemu-xhci", "pci-testdev,membar=4M", "e1000,mac=52-54", "ich9-intel-hda"} {
		_, err := Parse("f", []byte("devices: [\""+device+"\"]\n"))
		require.NoError(t, err)
	}
}
