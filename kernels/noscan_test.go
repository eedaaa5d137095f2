package kernels

import (
	"debug/elf"
	"testing"

	"github.com/stretchr/testify/assert"
)

// linked is a kernel's symbol table: local symbols behind their source file, then
// the global ones.
func linked(globals ...elf.Symbol) []elf.Symbol {
	local := func(name string, at, size uint64) elf.Symbol {
		return elf.Symbol{Name: name, Value: at, Size: size, Info: elf.ST_INFO(elf.STB_LOCAL, elf.STT_OBJECT)}
	}
	file := func(name string) elf.Symbol {
		return elf.Symbol{Name: name, Info: elf.ST_INFO(elf.STB_LOCAL, elf.STT_FILE)}
	}
	return append([]elf.Symbol{
		file("driver.c"), local("mem_pool", 0x12000, 0x1000), // another's
		file("kmemleak.c"), local("mem_pool", 0x31000, 0x2000), local("object_list", 0x33000, 0x10),
		file("printk.c"), local("__log_buf", 0x34000, 0x1000), local("printk_time", 0x35000, 4),
		local("_printk_rb_static_infos", 0x90000, 0x1000), // not scanned
	}, globals...)
}

func global(name string, at, size uint64) elf.Symbol {
	return elf.Symbol{Name: name, Value: at, Size: size, Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_OBJECT)}
}

func TestNoScanSpans(t *testing.T) {
	borders := []elf.Symbol{
		global("_sdata", 0x10000, 0), global("init_task", 0x10000, 0x2000), global("_edata", 0x20000, 0),
		global("__bss_start", 0x30000, 0), global("zeros", 0x30000, 0x1000), global("__bss_stop", 0x80000, 0),
	}
	pool, log := span{"mem_pool", 0x31000, 0x2000}, span{"__log_buf", 0x34000, 0x1000}
	assert.Equal(t, []span{pool, log, {"behind printk_time", 0x35004, 0x4affc}}, noScanSpans(linked(borders...)))
	// A symbol without a size may be the start of anything.
	assert.Equal(t, []span{pool, log}, noScanSpans(linked(append(borders, global("early_stack", 0x36000, 0))...)))
	assert.Equal(t, []span{pool, log}, noScanSpans(linked(append(borders, global("early_stack", 0x35004, 0))...)))
	// One within another hides no gap and makes none.
	assert.Equal(t, []span{pool, log, {"behind big", 0x6f000, 0x11000}},
		noScanSpans(linked(append(borders, global("big", 0x35010, 0x39ff0), global("alias", 0x36000, 8))...)))
	// Of a name that is not static there is one.
	assert.Equal(t, []span{pool, log, {"cpu_topology", 0x18000, 0x800}, {"behind printk_time", 0x35004, 0x4affc}},
		noScanSpans(linked(append(borders, global("cpu_topology", 0x18000, 0x800))...)))
	assert.Empty(t, noScanSpans(nil))
}
