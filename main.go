// Kmemgate tells whether a kernel module leaks memory. See harness/cli for
// the command and docs/ for how it works.
package main

import (
	"os"

	"github.com/kmemgate/kmemgate/harness/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
