package kernels

import (
	"cmp"
	"os"
	"runtime"
	"slices"
	"strings"
)

// packageNames are a package's names: of Debian and Ubuntu, of Fedora, of Arch.
type packageNames struct{ debian, fedora, arch string }

func everywhere(name string) packageNames { return packageNames{name, name, name} }

// packages has the package of every program that kmemgate calls, the one place
// that an error's cure and kmemgate doctor go by.
var packages = map[string]packageNames{
	"make": everywhere("make"), "gcc": everywhere("gcc"), "flex": everywhere("flex"), "bison": everywhere("bison"),
	"bc": everywhere("bc"), "perl": everywhere("perl"), "tar": everywhere("tar"), "xz": {"xz-utils", "xz", "xz"},
	"ld": everywhere("binutils"), "objcopy": everywhere("binutils"),

	"aarch64-linux-gnu-gcc":     {"gcc-aarch64-linux-gnu", "gcc-aarch64-linux-gnu", "aarch64-linux-gnu-gcc"},
	"aarch64-linux-gnu-ld":      {"binutils-aarch64-linux-gnu", "binutils-aarch64-linux-gnu", "aarch64-linux-gnu-binutils"},
	"aarch64-linux-gnu-objcopy": {"binutils-aarch64-linux-gnu", "binutils-aarch64-linux-gnu", "aarch64-linux-gnu-binutils"},
	"x86_64-linux-gnu-gcc":      {"gcc-x86-64-linux-gnu", "gcc-x86_64-linux-gnu", "x86_64-linux-gnu-gcc"},
	"x86_64-linux-gnu-ld":       {"binutils-x86-64-linux-gnu", "binutils-x86_64-linux-gnu", "x86_64-linux-gnu-binutils"},
	"x86_64-linux-gnu-objcopy":  {"binutils-x86-64-linux-gnu", "binutils-x86_64-linux-gnu", "x86_64-linux-gnu-binutils"},
	"clang":                     everywhere("clang"), "ld.lld": everywhere("lld"), "llvm-objcopy": everywhere("llvm"),

	"qemu-system-x86_64":  {"qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86"},
	"qemu-system-aarch64": {"qemu-system-arm", "qemu-system-aarch64-core", "qemu-system-aarch64"},

	"setpriv": everywhere("util-linux"), "setsid": everywhere("util-linux"), "cpio": everywhere("cpio"), "patch": everywhere("patch"),
	"ccache": everywhere("ccache"), "git": everywhere("git"), "dpkg-deb": everywhere("dpkg"), "apt-get": everywhere("apt"),
	// what is no program: the host programs of a kernel's build include them
	"libelf.h":           {"libelf-dev", "elfutils-libelf-devel", "libelf"},
	"openssl/opensslv.h": {"libssl-dev", "openssl-devel", "openssl"},
	debianKeyring:        {"debian-archive-keyring", "debian-keyring", "debian-archive-keyring"},
	"go":                 {"", "", "go"}, // Debian's, Ubuntu's and Fedora's is too old
}

// goTarball installs Go where the distribution's is too old.
const goTarball = "curl -fsSL https://go.dev/dl/go1.26.0.linux-GOARCH.tar.gz | SUDOtar -C /usr/local -xz; export PATH=/usr/local/go/bin:$PATH"

// installers begin the command that installs packages, by distribution.
var installers = map[string]string{
	"debian": "apt-get install ",
	"ubuntu": "apt-get install ",
	"fedora": "dnf install ",
	"arch":   "pacman -S --needed ",
}

// InstallCommand is what to type on a distribution (Distribution names it) for
// programs to be there.
func InstallCommand(distribution string, programs ...string) string {
	sudo := "sudo "
	if os.Geteuid() == 0 {
		sudo = ""
	}
	var names []string
	for _, program := range programs {
		of := packages[program]
		name := map[string]string{"fedora": of.fedora, "arch": of.arch}[distribution]
		if distribution != "fedora" && distribution != "arch" {
			name = of.debian
		}
		if program == "go" && name == "" {
			return strings.NewReplacer("GOARCH", runtime.GOARCH, "SUDO", sudo).Replace(goTarball)
		}
		if name = cmp.Or(name, program); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return sudo + cmp.Or(installers[distribution], installers["debian"]) + strings.Join(names, " ")
}

// CureOf is InstallCommand on this machine.
func CureOf(programs ...string) string {
	return InstallCommand(Distribution("/etc/os-release"), programs...)
}

// Distribution reads ID and ID_LIKE of os-release, down to one that has an
// installer here; Debian where there is none.
func Distribution(osRelease string) string {
	text, err := os.ReadFile(osRelease)
	if err != nil {
		return "debian"
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key == "ID" || key == "ID_LIKE" {
			names = append(names, strings.Fields(strings.Trim(value, `"'`))...)
		}
	}
	for _, n := range names {
		if _, ok := installers[n]; ok {
			return n
		}
	}
	return "debian"
}
