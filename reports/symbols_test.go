package reports

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// toolchains compile for the architectures that kmemgate knows.
var toolchains = map[string]string{"x86_64": "x86_64-linux-gnu-", "arm64": "aarch64-linux-gnu-"}

// tool skips on a desk that lacks a compiler; where CI runs that is an error.
func tool(t *testing.T, arch, name string) string {
	t.Helper()
	for _, try := range []string{toolchains[arch] + name, name} {
		if path, err := exec.LookPath(try); err == nil && (try != name || arch == "x86_64") {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s%s is not installed", toolchains[arch], name)
	}
	t.Skipf("%s%s is not installed", toolchains[arch], name)
	return ""
}

// compileModule links testdata/symbols into a relocatable object, as Kbuild
// makes modules, in a copy of the sources that is another directory.
func compileModule(t *testing.T, arch string, flags ...string) (path, buildDir string) {
	t.Helper()
	dir := t.TempDir()
	buildDir = filepath.Join(dir, "scratch")
	require.NoError(t, os.CopyFS(buildDir, os.DirFS("testdata/symbols")))
	gcc, ld := tool(t, arch, "gcc"), tool(t, arch, "ld")
	args := append([]string{"-g", "-O2", "-ffreestanding", "-fno-pic", "-fno-asynchronous-unwind-tables", "-c"}, flags...)
	for _, src := range []string{"driver.c", "second.c"} {
		cmd := exec.Command(gcc, append(args, filepath.Join(buildDir, src))...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	path = filepath.Join(dir, "driver.ko")
	cmd := exec.Command(ld, "-r", "-o", path, filepath.Join(dir, "driver.o"), filepath.Join(dir, "second.o"))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return path, buildDir
}

// TestLookupAgreesWithAddr2line asks for every byte of every section. The
// oracle is asked about a build with DWARF 4: binutils 2.40 names the wrong file
// for DWARF 5 of functions from a header (driver.c:4 for sub/helper.h:4).
func TestLookupAgreesWithAddr2line(t *testing.T) {
	for arch := range toolchains {
		oracle, oracleDir := compileModule(t, arch, "-gdwarf-4")
		for _, dwarf := range []string{"-gdwarf-4", "-gdwarf-5"} {
			t.Run(arch+dwarf, func(t *testing.T) {
				path, dir := compileModule(t, arch, dwarf)
				m, err := openModule(path)
				require.NoError(t, err)
				require.NoError(t, m.dwarfErr)
				inlined := 0
				for _, section := range []string{".text", ".init.text", ".exit.text"} {
					size := m.file.Sections[m.byName[section]].Size
					require.NotZero(t, size)
					want := addr2line(t, arch, oracle, section, size)
					for off := range size {
						addr := m.bases[m.byName[section]] + off
						if _, ok := m.function(addr); !ok {
							continue // addr2line counts the padding to the function before
						}
						got, err := m.dwarf.lookup(addr)
						require.NoError(t, err)
						inlined += max(0, len(got)-1)
						assert.Equal(t, strings.ReplaceAll(want[off], oracleDir, ""), strings.ReplaceAll(positionText(got), dir, ""), "%s+0x%x", section, off)
					}
				}
				assert.NotZero(t, inlined, "the test's module has inlined functions")
			})
		}
	}
}

func positionText(ps []position) string {
	var b strings.Builder
	for _, p := range ps {
		fmt.Fprintf(&b, "%s %s:%d\n", p.function, p.file, p.line)
	}
	return b.String()
}

// addr2line answers for each offset of a section.
func addr2line(t *testing.T, arch, path, section string, size uint64) map[uint64]string {
	t.Helper()
	cmd := exec.Command(tool(t, arch, "addr2line"), "-a", "-i", "-f", "-j", section, "-e", path)
	var in strings.Builder
	for off := range size {
		fmt.Fprintf(&in, "0x%x\n", off)
	}
	cmd.Stdin = strings.NewReader(in.String())
	out, err := cmd.Output()
	require.NoError(t, err)
	answers := map[uint64]string{}
	at, function := uint64(0), ""
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "0x"):
			at, err = strconv.ParseUint(line, 0, 64)
			require.NoError(t, err)
			function = ""
		case function == "":
			function = line
		default:
			file, _, _ := strings.Cut(line, " (discriminator")
			if function != "??" && !strings.Contains(file, "?") {
				answers[at] += function + " " + file + "\n"
			}
			function = ""
		}
	}
	require.NotEmpty(t, answers)
	return answers
}

// moduleCapture is a run that loaded the test's module at some addresses.
func moduleCapture(t *testing.T, arch string) (*Capture, *elfModule) {
	t.Helper()
	path, _ := compileModule(t, arch)
	src, err := filepath.Abs("testdata/symbols")
	require.NoError(t, err)
	m, err := openModule(path)
	require.NoError(t, err)
	return &Capture{
		Modules: []Module{{Name: "driver", Path: path, UnderTest: true}}, SourceDir: src, Arch: arch,
		Loads: []Load{{Module: "driver", UnderTest: true, PID: 90, Begin: 2000, End: 2100, Sections: map[string]uint64{
			".text": 0xffffffffa0000000, ".init.text": 0xffffffffa0010000, ".exit.text": 0xffffffffa0000800, ".rodata": 0xffffffffa0004000,
		}}},
	}, m
}

// callTo returns the return addresses of the calls to an import, by section
// offset: they lie behind the relocated instruction.
func callTo(t *testing.T, m *elfModule, section, symbol string) []uint64 {
	t.Helper()
	var out []uint64
	behind := uint64(4) // both: a 32-bit displacement, or an instruction of four bytes
	require.NoError(t, m.eachRelocation(m.byName[section], func(off uint64, _ uint32, sym elf.Symbol, _ int64) error {
		if sym.Name == symbol {
			out = append(out, off+behind)
		}
		return nil
	}))
	require.NotEmpty(t, out, "calls to %s in %s", symbol, section)
	return out
}

func frameText(frames []Frame) []string {
	var out []string
	for _, f := range frames {
		s := fmt.Sprintf("%s %s:%d", f.Function, f.File, f.Line)
		if f.Inlined {
			s += " inlined"
		}
		out = append(out, s)
	}
	return out
}

func TestFramesAfterRmmod(t *testing.T) {
	for arch := range toolchains {
		t.Run(arch, func(t *testing.T) {
			c, m := moduleCapture(t, arch)
			s := newSymbolizer(c, newSources(c))
			require.Empty(t, s.warnings)
			rec := &Record{Jiffies: 2050, PID: 90}

			at := func(section string, n int) []string {
				f := RawFrame{Addr: c.Loads[0].Sections[section] + callTo(t, m, section, "kmalloc")[n]}
				return frameText(s.frame(f, rec))
			}
			assert.Equal(t, []string{"driver_init driver.c:33"}, at(".init.text", 0))
			assert.Equal(t, []string{
				"inlined_inner sub/helper.h:15 inlined", "inlined_outer driver.c:25 inlined", "driver_init driver.c:34",
			}, at(".init.text", 1))
			assert.Equal(t, []string{
				"inlined_inner sub/helper.h:15 inlined", "inlined_outer driver.c:25 inlined", "driver_exit driver.c:48",
			}, at(".exit.text", 0))
			assert.Equal(t, "helper_alloc sub/helper.h:6", at(".text", 0)[0])
		})
	}
}

// TestFrameOfALaterModule: the kernel printed the name of what lies there when
// the file is read; the object is older than that.
func TestFrameOfALaterModule(t *testing.T) {
	c, m := moduleCapture(t, "x86_64")
	path, _ := compileModule(t, "x86_64", "-O1", "-DLATER")
	later, err := openModule(path)
	require.NoError(t, err)
	c.Modules = append(c.Modules, Module{Name: "later", Path: path})
	c.Loads = append(c.Loads, Load{Module: "later", PID: 95, Begin: 3000, Sections: map[string]uint64{
		".text": 0xffffffffa0000000, ".init.text": 0xffffffffa0010000, ".exit.text": 0xffffffffa0000800,
	}})
	s := newSymbolizer(c, newSources(c))
	off := callTo(t, m, ".init.text", "kmalloc")[0]
	init := later.funcs[later.symbols["driver_init"][0]]
	printed := RawFrame{Symbol: "driver_init", Offset: off - (init.addr - later.bases[later.byName[".init.text"]]), Size: init.size, Module: "later"}

	old := s.frame(printed, &Record{Jiffies: 2050, PID: 90})
	assert.Equal(t, []string{"driver_init driver.c:33"}, frameText(old))
	assert.Equal(t, "driver", old[0].Module)
	young := s.frame(printed, &Record{Jiffies: 3050, PID: 95})
	assert.Equal(t, "later", young[0].Module)
}

// TestFreedInitTextIsUsedAgain: a module that stays has given its .init.text
// back, and the next one is put there.
func TestFreedInitTextIsUsedAgain(t *testing.T) {
	c, m := moduleCapture(t, "x86_64")
	first := c.Loads[0]
	first.Module, first.Begin, first.End, first.PID = "first", 1500, 0, 80
	c.Modules = append(c.Modules, Module{Name: "first", Path: c.Modules[0].Path})
	c.Loads = []Load{first, c.Loads[0]}
	s := newSymbolizer(c, newSources(c))
	f := RawFrame{Addr: first.Sections[".init.text"] + callTo(t, m, ".init.text", "kmalloc")[0]}
	assert.Equal(t, "first", s.frame(f, &Record{Jiffies: 1600})[0].Module)
	assert.Equal(t, "driver", s.frame(f, &Record{Jiffies: 2050})[0].Module)
	assert.Equal(t, "driver", s.frame(f, &Record{Jiffies: 2000, PID: 90})[0].Module)
}

// TestFreedInitTextOfAStranger: a module that a script loads is put where
// .init.text was, and nobody tells of it.
func TestFreedInitTextOfAStranger(t *testing.T) {
	c, m := moduleCapture(t, "x86_64")
	c.Loads[0].Inited = 2010
	s := newSymbolizer(c, newSources(c))
	addr := c.Loads[0].Sections[".init.text"] + callTo(t, m, ".init.text", "kmalloc")[0]
	assert.Equal(t, "driver_init", s.frame(RawFrame{Addr: addr}, &Record{Jiffies: 2010, PID: 90})[0].Function)
	for _, jiffies := range []uint64{2050, 2150} { // while the driver is there, and after
		assert.Equal(t, []Frame{{Function: fmt.Sprintf("0x%x", addr)}}, s.frame(RawFrame{Addr: addr}, &Record{Jiffies: jiffies, PID: 95}))
	}
}

func TestFramesThatNobodyKnows(t *testing.T) {
	c, _ := moduleCapture(t, "x86_64")
	s := newSymbolizer(c, newSources(c))
	rec := &Record{Jiffies: 2050}
	assert.Equal(t, []Frame{{Function: "0xffffffffb0000000"}}, s.frame(RawFrame{Addr: 0xffffffffb0000000}, rec))
	assert.Equal(t, []Frame{{Function: "f", Offset: 3, Module: "other"}}, s.frame(RawFrame{Symbol: "f", Offset: 3, Size: 9, Module: "other"}, rec))
	assert.Equal(t, []Frame{{Function: "f", Offset: 3}}, s.frame(RawFrame{Pointer: "00000000a1b2c3d4", Hashed: true, Symbol: "f", Offset: 3, Size: 9}, rec))
}

// TestSectionsOfARefusedLoad: only the kernel's log knows where it lay.
func TestSectionsOfARefusedLoad(t *testing.T) {
	for name, log := range map[string]string{
		"6.12": "[    3.1] main: Final section addresses for driver:\n[    3.1] main: \t0xffffffffa0030000 0x000001a4 .text\n[    3.1] main: \t0xffffffffa0038000 0x00000200 .init.text\n[    3.2] other\n",
		"6.1":  "[    3.1] final section addresses:\n[    3.1] \t0xffffffffa0030000 .text\n[    3.1] \\x090xffffffffa0038000 .init.text\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, m := moduleCapture(t, "x86_64")
			good := c.Loads[0]
			good.Begin, good.End = 3000, 3100
			refused := Load{Module: "driver", UnderTest: true, PID: 91, Errno: "ENOMEM", Begin: 2000, End: 2010}
			c.Loads = []Load{refused, good}
			c.Dmesg = []byte(log + strings.NewReplacer("0xffffffffa0030000", "0xffffffffa0000000", "0xffffffffa0038000", "0xffffffffa0010000").Replace(log))
			s := newSymbolizer(c, newSources(c))
			f := RawFrame{Addr: 0xffffffffa0038000 + callTo(t, m, ".init.text", "kmalloc")[0]}
			assert.Equal(t, []string{"driver_init driver.c:33"}, frameText(s.frame(f, &Record{Jiffies: 2005, PID: 91})))
		})
	}
}

// TestSectionsOfAScriptsLoad: the log tells of one load more than the agent does.
func TestSectionsOfAScriptsLoad(t *testing.T) {
	for name, log := range map[string]string{
		"6.12": "[    3.1] main: Final section addresses for driver:\n[    3.1] main: \t0xTEXT 0x000001a4 .text\n[    3.1] main: \t0xINIT 0x00000200 .init.text\n[    3.2] other\n",
		"6.1":  "[    3.1] final section addresses:\n[    3.1] \t0xTEXT .text\n[    3.1] \t0xINIT .init.text\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, m := moduleCapture(t, "x86_64")
			told := strings.NewReplacer("TEXT", "ffffffffa0000000", "INIT", "ffffffffa0010000").Replace(log)
			untold := strings.NewReplacer("TEXT", "ffffffffa0030000", "INIT", "ffffffffa0038000").Replace(log)
			c.Dmesg = []byte(told + untold)
			s := newSymbolizer(c, newSources(c))
			f := RawFrame{Addr: 0xffffffffa0038000 + callTo(t, m, ".init.text", "kmalloc")[0]}
			assert.Equal(t, []string{"driver_init driver.c:33"}, frameText(s.frame(f, &Record{Jiffies: 2005, PID: 91})))
			c.Dmesg = []byte(told)
			s = newSymbolizer(c, newSources(c))
			assert.Equal(t, []string{"0xffffffffa0038" + fmt.Sprintf("%03x", f.Addr&0xfff) + " :0"}, frameText(s.frame(f, &Record{Jiffies: 2005, PID: 91})))
		})
	}
}

func TestPathsOfADriverThatIsGone(t *testing.T) {
	c, m := moduleCapture(t, "x86_64")
	s := newSymbolizer(c, newSources(c))
	f := RawFrame{Addr: c.Loads[0].Sections[".text"] + callTo(t, m, ".text", "kmalloc")[0]}
	assert.Equal(t, "sub/helper.h", s.frame(f, &Record{Jiffies: 2050})[0].File)
	c.SourceDir = ""
	s = newSymbolizer(c, newSources(c))
	assert.Equal(t, "sub/helper.h", s.frame(f, &Record{Jiffies: 2050})[0].File, "relative to the module's own units")
}
