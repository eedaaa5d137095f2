package kernels

import (
	"context"
	"os/exec"
	"runtime"
	"sort"
	"strconv"
	"strings"
)

// archFacts is what building for an architecture takes.
type archFacts struct {
	goarch string // Go's name, to tell native from cross
	make   string // the kernel's ARCH=
	// target and image: what QEMU boots. x86_64 boots vmlinux by PVH, half a
	// second sooner than bzImage; arm64 has only Image.
	target, image string
	cross         string // prefix of a cross compiler
	machine       string // ELF machine of its modules, as debug/elf names it
	// objects is how many objects the base kernel of 6.12 has (measured):
	// what the first build's bar goes by, before any was counted here.
	objects int
}

var archs = map[string]archFacts{
	"x86_64": {
		goarch: "amd64", make: "x86_64", target: "vmlinux", image: "vmlinux",
		cross: "x86_64-linux-gnu-", machine: "EM_X86_64", objects: 850,
	},
	"arm64": {
		goarch: "arm64", make: "arm64", target: "Image", image: "arch/arm64/boot/Image",
		cross: "aarch64-linux-gnu-", machine: "EM_AARCH64", objects: 750,
	},
}

// Arches returns the names of the architectures that can be built.
func Arches() []string {
	var names []string
	for name := range archs {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// toolchain is the programs that build for an architecture.
type toolchain struct {
	facts  archFacts
	llvm   bool
	cross  string // prefix, empty where native
	ccache bool
	// version tells compilers apart: a kernel is keyed by it.
	version string
}

// Tools lists the programs that a build for an architecture needs on this
// machine; CureOf knows where they come from.
func Tools(arch string, llvm bool) []string {
	tools := []string{"make", "gcc", "flex", "bison", "bc", "perl", "xz", "tar"}
	if llvm {
		return append(tools, "clang", "ld.lld", "llvm-objcopy")
	}
	cross := crossPrefix(archs[arch])
	return append(tools, cross+"gcc", cross+"ld", cross+"objcopy")
}

func crossPrefix(facts archFacts) string {
	if facts.goarch == runtime.GOARCH {
		return ""
	}
	return facts.cross
}

// findToolchain checks that all programs are there.
func findToolchain(ctx context.Context, arch string, llvm bool) (*toolchain, error) {
	facts, ok := archs[arch]
	if !ok {
		return nil, usageErr("it takes "+strings.Join(Arches(), " or "), "architecture %q", arch)
	}
	for _, tool := range Tools(arch, llvm) {
		if _, err := lookTool(tool); err != nil {
			return nil, err
		}
	}
	t := &toolchain{facts: facts, llvm: llvm, cross: crossPrefix(facts)}
	if llvm {
		t.cross = ""
	}
	_, err := exec.LookPath("ccache")
	t.ccache = err == nil
	t.version, err = t.describe(ctx)
	return t, err
}

func (t *toolchain) compiler() string {
	if t.llvm {
		return "clang"
	}
	return t.cross + "gcc"
}

func (t *toolchain) objcopy() string {
	if t.llvm {
		return "llvm-objcopy"
	}
	return t.cross + "objcopy"
}

func (t *toolchain) describe(ctx context.Context) (string, error) {
	linker := t.cross + "ld"
	if t.llvm {
		linker = "ld.lld"
	}
	var versions []string
	for _, program := range []string{t.compiler(), linker} {
		out, err := (&Command{Args: []string{program, "--version"}}).Output(ctx)
		if err != nil {
			return "", buildErr(err, FaultHost, "toolchain")
		}
		first, _, _ := strings.Cut(out, "\n")
		versions = append(versions, first)
	}
	return strings.Join(versions, ", "), nil
}

// makeArgs are the arguments every make in a kernel's tree gets.
func (t *toolchain) makeArgs(src, build string) []string {
	args := []string{"make", "-C", src, "O=" + build, "ARCH=" + t.facts.make, "-j" + strconv.Itoa(runtime.NumCPU()),
		// An empty LOCALVERSION keeps setlocalversion from adding "+" for a
		// git tree: content addresses the build, not its git state.
		"LOCALVERSION=",
		"KBUILD_BUILD_TIMESTAMP=1970-01-01", "KBUILD_BUILD_USER=kmemgate", "KBUILD_BUILD_HOST=kmemgate", "KBUILD_BUILD_VERSION=1"}
	if t.llvm {
		args = append(args, "LLVM=1")
	} else if t.cross != "" {
		args = append(args, "CROSS_COMPILE="+t.cross)
	}
	if t.ccache {
		args = append(args, "CC=ccache "+t.compiler(), "HOSTCC=ccache "+t.hostCompiler())
	}
	return args
}

func (t *toolchain) hostCompiler() string {
	if t.llvm {
		return "clang"
	}
	return "gcc"
}

// modulePaths cut the machine's paths out of a module's debug information,
// so that a kernel's own modules are the same wherever they were built.
func modulePaths(src, build string) string {
	return "-g -ffile-prefix-map=" + src + "/= -ffile-prefix-map=" + build + "=."
}

// scanFlags compile kmemleak for speed: a scan is most of what a guest executes. At
// -O2 gcc calls a function for each of its 1.4 million words, which asks whether to
// stop; at -O3 it still puts parts of functions behind calls, that one on arm64 and
// the look-up of a pointer on both, and under TCG each call and return looks up code.
// Most steps of a look-up go to the right (the kernel's own addresses are the highest):
// -ftracer copies the loop's test behind them, and saves one jump of four. A jump into
// another page is looked up by TCG each time it is taken: on 7.3 for x86_64 the border of
// two pages lay in the loop over words, which no function's first kilobyte can hold now.
func (t *toolchain) scanFlags() string {
	if t.llvm { // clang refuses the others
		return "CFLAGS_kmemleak.o=-O3"
	}
	return "CFLAGS_kmemleak.o=-O3 -fno-partial-inlining -ftracer -falign-functions=1024"
}
