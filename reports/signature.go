package reports

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

// signatureFrames is how many frames make a signature: enough to tell callers
// apart, few enough to outlive changes far up the stack.
const signatureFrames = 5

// compilerSuffix matches what a compiler appends to the names of clones, which
// come and go with its version: f.constprop.0, f.isra.0.cold, f.part.3, f.llvm.1.
var compilerSuffix = regexp.MustCompile(`(\.(constprop|isra|part|cold|llvm|lto_priv|localalias)(\.[0-9]+)*)+$`)

func baseName(function string) string {
	return compilerSuffix.ReplaceAllString(function, "")
}

// allocators matches functions that allocate for their caller: a leak is never
// their fault, and their names change with every kernel (kmalloc became
// kmalloc_noprof in 6.10, kmalloc_trace became __kmalloc_cache_noprof in 6.11).
// The list is that of mm/slab_common.c, mm/slub.c, mm/util.c, mm/vmalloc.c,
// mm/percpu.c, mm/kmemleak.c, lib/kasprintf.c, drivers/base/devres.c and
// include/linux/{slab,vmalloc,percpu,string}.h. Underscores before and _noprof,
// _node, _trace, _track_caller and the like behind are cut first.
var allocators = regexp.MustCompile(`^(` + strings.Join([]string{
	`k[mzc]alloc`, `kmalloc_(array|large|order|caller|slab|cache|obj|objs|flex)`, `k[mzc]alloc_(obj|objs|flex)`, `kcalloc`, `krealloc`, `krealloc_array`, `kmalloc_array`,
	`kv[mzc]alloc`, `kvmalloc_array`, `kvcalloc`, `kvrealloc`, `kv[mz]alloc_(obj|objs|flex)`, `do_krealloc`, `do_kmalloc`,
	`kmem_cache_z?alloc`, `kmem_cache_alloc_(lru|bulk)`, `slab_alloc`, `slab_post_alloc_hook`, `kmem_cache_alloc_bulk`,
	`kstrdup`, `kstrndup`, `kstrdup_const`, `kmemdup`, `kmemdup_(nul|array)`, `kvmemdup`, `memdup_user`, `vmemdup_user`, `memdup_user_nul`, `strndup_user`,
	`kasprintf`, `kvasprintf`, `kvasprintf_const`,
	`v[mz]alloc`, `vmalloc_(user|huge|32|32_user|array|exec)`, `vcalloc`, `vmalloc_range`, `module_alloc`,
	`alloc_percpu`, `alloc_percpu_gfp`, `alloc_reserved_percpu`, `pcpu_alloc`, `pcpu_alloc_reserved`,
	`kmemleak_(alloc|vmalloc|alloc_percpu|alloc_phys|alloc_recursive|update_trace)`, `create_object`, `create_object_percpu`,
	`devm_k[mzc]alloc`, `devm_kmalloc_array`, `devm_kcalloc`, `devm_kstrdup`, `devm_kasprintf`, `devm_kvasprintf`, `devm_kmemdup`, `devres_alloc`, `alloc_dr`, `devm_krealloc`,
	`mempool_(alloc|kmalloc|alloc_slab|init|create|create_kmalloc_pool)`,
	`alloc_pages`, `get_free_pages?`, `get_zeroed_page`, `dma_alloc_(coherent|attrs)`,
}, "|") + `)$`)

// allocatorSuffix matches what variants of one allocator differ in.
var allocatorSuffix = regexp.MustCompile(`(_(noprof|node|trace|track_caller|caller|large|nolock|fromlist|prof|ver|args|bulk|range))+$`)

// isAllocator tells whether a function allocates for its caller.
func isAllocator(function string) bool {
	name := strings.TrimLeft(baseName(function), "_")
	return allocators.MatchString(name) || allocators.MatchString(allocatorSuffix.ReplaceAllString(name, ""))
}

// entryFunctions matches the way into the kernel and through its module
// loader. It differs between architectures (el0_svc, do_syscall_64) and kernels
// (__do_sys_finit_module became init_module_from_file in 6.5) and says nothing
// about the leak.
var entryFunctions = regexp.MustCompile(`^(` + strings.Join([]string{
	`do_one_initcall`, `do_init_module`, `load_module`, `init_module_from_file`, `idempotent_init_module`,
	`_*(do_|se_|x64_|arm64_|ia32_)*sys_(f?init_module|delete_module)`, `delete_module`,
	`do_syscall_64`, `do_syscall_x64`, `x64_sys_call`, `entry_SYSCALL_64.*`, `ret_from_fork.*`,
	`el[01][th]?_.*`, `el0t?_64_sync.*`, `do_el0_svc`, `el0_svc.*`, `invoke_syscall`,
}, "|") + `)$`)

func isEntry(function string) bool { return entryFunctions.MatchString(baseName(function)) }

// blame picks the frames that a leak is known by: those of the modules under
// test, or, where there are none, those of the kernel that are neither an
// allocator's nor the loader's, or, where a stack has nothing else, all.
func blame(frames []Frame, underTest map[string]bool) []Frame {
	picks := []func(Frame) bool{
		func(f Frame) bool { return underTest[f.Module] && !isAllocator(f.Function) && !fromHeader(f) },
		func(f Frame) bool { return underTest[f.Module] },
		func(f Frame) bool { return !isAllocator(f.Function) && !isEntry(f.Function) && !inlinedInKernel(f) },
		func(f Frame) bool { return !isAllocator(f.Function) && !inlinedInKernel(f) },
		func(Frame) bool { return true },
	}
	for _, pick := range picks {
		var out []Frame
		for _, f := range frames {
			if pick(f) {
				out = append(out, f)
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

// inlinedInKernel tells what only a kernel with DWARF shows: a signature must be
// the same without.
func inlinedInKernel(f Frame) bool {
	return f.Inlined && f.Module == ""
}

// fromHeader tells helpers that the kernel's headers inline into the module:
// they are the kernel's, and another kernel has others.
func fromHeader(f Frame) bool {
	return f.Inlined && f.kernel
}

// signatureOf hashes names, and names only, so that a leak is known again after
// a rebuild, on another kernel and on another architecture.
func signatureOf(blamed []Frame) string {
	h := sha256.New()
	blamed = unsplit(blamed)
	for _, f := range blamed[:min(len(blamed), signatureFrames)] {
		name := baseName(f.Function)
		if strings.HasPrefix(name, "0x") { // nobody knows what lay there, and the next time it lies elsewhere
			name = "?"
		}
		h.Write([]byte(f.Module + "\x00" + name + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// unsplit makes one frame of a function that the compiler split in two: the head is
// inlined where it is called, and the rest, f.part.0 or f.cold, called from there.
// Where a function is split differs between architectures and compilers.
func unsplit(frames []Frame) []Frame {
	var whole []Frame
	for i, f := range frames {
		if i > 0 && f.Inlined && f.Module == frames[i-1].Module && baseName(f.Function) == baseName(frames[i-1].Function) {
			continue
		}
		whole = append(whole, f)
	}
	return whole
}
