package kconfig

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The shapes that a kernel's options have, in small.
const enableTree = `
config NET
	bool "Networking"

menuconfig NETDEVICES
	bool "Network devices"
	depends on NET

config PHYLIB
	tristate "PHYs"
	depends on NETDEVICES && (HAS_NONE || HAS_BUS)

config HAS_BUS
	def_bool y
	depends on NET

config REGMAP_I2C
	tristate
	select REGMAP

config REGMAP
	bool

config I2C
	tristate "I2C"

config EXPENSIVE
	tristate "selects much"
	depends on I2C
	select REGMAP_I2C
	select NETA
	select NETB

config NETA
	bool
config NETB
	bool

config CHEAP
	tristate "selects little"
	depends on I2C && MODULES
	select REGMAP_I2C

config MODULES
	bool "Modules"

config ONLY_MODULE
	tristate "m only"
	depends on m && MODULES

config NOT_HERE
	bool "needs what is off"
	depends on !MODULES && NET

config ELSEWHERE
	bool "for another architecture"
	depends on ARCH_OTHER

config CIRCLE_A
	bool "a"
	depends on CIRCLE_B
config CIRCLE_B
	bool "b"
	depends on CIRCLE_A

config SIZE
	int "size"

config FILTERED
	tristate "shown to few" if FILTER
	default y if MENU
config FILTER
	bool "Filter"
	depends on ARCH_OTHER
config MENU
	bool "Menu"

config EXPERT
	bool "Expert"
config VT
	bool "shown to experts" if EXPERT
	select INPUT
	default y if !UML
config INPUT
	bool
`

func TestEnable(t *testing.T) {
	tree, err := ReadTree(fstest.MapFS{"Kconfig": {Data: []byte(enableTree)}}, "arm64")
	require.NoError(t, err)
	require.Empty(t, tree.Unread)
	have := parse(t, ".config", "CONFIG_MODULES=y\nCONFIG_EXPERT=y\n# CONFIG_NET is not set\n# CONFIG_VT is not set\n")

	for names, want := range map[string]string{
		"CONFIG_NET":    "NET=y",
		"MODULES":       "", // it is on
		"PHYLIB":        "NET=y NETDEVICES=y PHYLIB=y",
		"REGMAP_I2C":    "I2C=y CHEAP=y",
		"REGMAP":        "I2C=y CHEAP=y",
		"HAS_BUS":       "NET=y",
		"ONLY_MODULE":   "ONLY_MODULE=m",
		"FILTERED":      "MENU=y",
		"VT":            "VT=y", // its default is not what .config says
		"I2C PHYLIB":    "I2C=y NET=y NETDEVICES=y PHYLIB=y",
		"PHYLIB NET":    "NET=y NETDEVICES=y PHYLIB=y",
		"EXPENSIVE":     "I2C=y EXPENSIVE=y",
		"!NOT_HERE":     "turn on CONFIG_NOT_HERE: needs !MODULES",
		"!ELSEWHERE":    "turn on CONFIG_ELSEWHERE: this kernel has no ARCH_OTHER for this architecture",
		"!CIRCLE_A":     "turn on CONFIG_CIRCLE_A: CIRCLE_A needs itself",
		"!SIZE":         "turn on CONFIG_SIZE: SIZE is of type int",
		"!NO_SUCH_NAME": "turn on CONFIG_NO_SUCH_NAME: this kernel has no NO_SUCH_NAME",
	} {
		t.Run(names, func(t *testing.T) {
			opts, err := tree.Enable(have, strings.Fields(strings.TrimPrefix(names, "!"))...)
			if strings.HasPrefix(names, "!") {
				require.ErrorContains(t, err, want)
				return
			}
			require.NoError(t, err)
			var got []string
			for _, o := range opts {
				got = append(got, shortName(o.String()))
			}
			assert.Equal(t, want, strings.Join(got, " "))
		})
	}
}
