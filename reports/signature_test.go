package reports

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAllocators(t *testing.T) {
	for _, name := range []string{
		"kmalloc", "__kmalloc", "__kmalloc_noprof", "kmalloc_trace", "__kmalloc_cache_noprof", "__kmalloc_node_track_caller", "__kmalloc_node_track_caller_noprof",
		"kmem_cache_alloc", "kmem_cache_alloc_noprof", "kmem_cache_alloc_node_noprof", "kmem_cache_alloc_trace", "kmem_cache_alloc_lru", "kmalloc_order_trace",
		"kzalloc", "kcalloc.constprop.0", "__kmalloc_large_node", "__vmalloc_node_range", "__vmalloc_node_range_noprof", "vmalloc", "vmalloc_noprof", "vzalloc",
		"__alloc_percpu", "pcpu_alloc_noprof", "pcpu_alloc", "kstrdup", "kstrdup_noprof", "kmemdup_noprof", "kasprintf", "kvasprintf", "kvmalloc_node", "__kvmalloc_node_noprof",
		"devm_kmalloc", "devm_kzalloc", "krealloc", "__do_kmalloc_node", "__do_krealloc", "slab_post_alloc_hook", "kmemleak_alloc", "__kmem_cache_alloc_node", "create_object", "__create_object",
		"kzalloc_noprof", "kmalloc_array_noprof", "__kvmalloc_node", "devm_kasprintf", "kmalloc_node_trace",
	} {
		assert.True(t, isAllocator(name), name)
	}
	for _, name := range []string{"foo_alloc", "alloc_foo", "kmalloc_test_init", "leak_in_probe", "device_add", "kobject_set_name_vargs", "__alloc_skb", "vmallocator", "process_one_work"} {
		assert.False(t, isAllocator(name), name)
	}
}

func TestBaseName(t *testing.T) {
	for name, want := range map[string]string{
		"f": "f", "f.constprop.0": "f", "f.isra.0.cold": "f", "f.part.12": "f", "f.cold": "f", "f.constprop.0.isra.1": "f", "do_el0.svc": "do_el0.svc", "f.llvm.123": "f",
	} {
		assert.Equal(t, want, baseName(name))
	}
}

// TestSignatureIsStable: one leak in init as four kernels and two compilers show it.
func TestSignatureIsStable(t *testing.T) {
	mod := map[string]bool{"foo": true}
	foo := func(names ...string) (out []Frame) {
		for _, n := range names {
			out = append(out, Frame{Function: n, Module: "foo"})
		}
		return out
	}
	kernel := func(names ...string) (out []Frame) {
		for _, n := range names {
			out = append(out, Frame{Function: n})
		}
		return out
	}
	join := func(parts ...[]Frame) (out []Frame) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	header := Frame{Function: "kzalloc", Module: "foo", File: "include/linux/slab.h", Inlined: true, kernel: true}
	wrapper := Frame{Function: "new_helper_of_7_0", Module: "foo", File: "include/linux/foo.h", Inlined: true, kernel: true}
	stacks := [][]Frame{
		join(kernel("kmalloc_trace"), foo("leak.constprop.0", "foo_init"), kernel("do_one_initcall", "do_init_module", "__do_sys_finit_module", "do_syscall_64")),
		join(kernel("__kmalloc_cache_noprof"), []Frame{header, wrapper}, foo("leak", "foo_init"), kernel("do_one_initcall", "init_module_from_file", "__arm64_sys_finit_module", "el0_svc")),
	}
	want := signatureOf(blame(stacks[0], mod))
	assert.Equal(t, want, signatureOf(blame(stacks[1], mod)))
	assert.Equal(t, "leak", baseName(blame(stacks[1], mod)[0].Function))

	other := signatureOf(blame(join(kernel("kmalloc_trace"), foo("leak2", "foo_init")), mod))
	assert.NotEqual(t, want, other)

	// Without a frame of the module: the kernel's own, without ways in.
	a := join(kernel("__kmalloc_noprof", "kobject_set_name_vargs", "dev_set_name", "do_one_initcall", "do_init_module", "do_syscall_64"))
	b := join(kernel("kmem_cache_alloc_trace", "kobject_set_name_vargs", "dev_set_name", "do_one_initcall", "init_module_from_file", "__arm64_sys_finit_module", "invoke_syscall", "el0_svc_common.constprop.0", "do_el0_svc", "el0t_64_sync_handler", "el0t_64_sync"))
	assert.Equal(t, signatureOf(blame(a, mod)), signatureOf(blame(b, mod)))
	assert.Len(t, blame(b, mod), 2)

	// Only ways in: a leak of the loader itself is still one.
	assert.NotEmpty(t, blame(kernel("kmalloc_trace", "load_module"), mod))
	assert.NotEmpty(t, blame(kernel("kmalloc_trace"), mod))
	assert.Empty(t, blame(nil, mod))
}

func TestSignatureWithoutAddresses(t *testing.T) {
	unknown := func(addr string) string { return signatureOf([]Frame{{Function: addr}, {Function: "f", Module: "m"}}) }
	assert.Equal(t, unknown("0xffffffffa000001a"), unknown("0xffffffffa040001a"))
	assert.NotEqual(t, unknown("0xffffffffa000001a"), unknown("g"))
}

// TestSignatureOfASplitFunction: gost-crypto's test_hash, as gcc makes it for x86_64
// and, inlined by half, for arm64. A function that calls itself is another stack.
func TestSignatureOfASplitFunction(t *testing.T) {
	frame := func(function string) Frame { return Frame{Function: function, Module: "gost_test"} }
	inlined := func(function string) Frame { return Frame{Function: function, Module: "gost_test", Inlined: true} }
	whole := signatureOf([]Frame{frame("__test_hash"), frame("test_hash"), frame("alg_test_hash")})
	assert.Equal(t, whole, signatureOf([]Frame{frame("__test_hash"), frame("test_hash.part.0"), inlined("test_hash"), frame("alg_test_hash")}))
	assert.Equal(t, whole, signatureOf([]Frame{frame("__test_hash"), inlined("test_hash"), frame("alg_test_hash")}))
	assert.NotEqual(t, whole, signatureOf([]Frame{frame("__test_hash"), frame("test_hash"), frame("test_hash"), frame("alg_test_hash")}))
}
