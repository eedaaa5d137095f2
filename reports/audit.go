package reports

import (
	"cmp"
	"debug/elf"
	"slices"
	"strings"
)

// silencers are the calls of include/linux/kmemleak.h that can hide a leak, and
// those that forge the detector's books: each takes an object out of a report,
// or puts a reference into it. What kmemleak_alloc and its kin register is scanned
// like an object of the kernel's own, and holds whatever it points to: a page of
// pointers, registered, hides the leak of all of them.
var silencers = map[string]bool{
	"kmemleak_not_leak": true, "kmemleak_ignore": true, "kmemleak_ignore_percpu": true, "kmemleak_ignore_phys": true,
	"kmemleak_transient_leak": true, "kmemleak_no_scan": true, "kmemleak_scan_area": true, "kmemleak_erase": true,
	"kmemleak_free": true, "kmemleak_free_part": true, "kmemleak_free_part_phys": true, "kmemleak_free_percpu": true, "kmemleak_free_recursive": true,
	"kmemleak_not_leak_phys": true, "kmemleak_update_trace": true,
	"kmemleak_alloc": true, "kmemleak_alloc_phys": true, "kmemleak_alloc_percpu": true,
}

// audit lists, per module under test, the imports that can silence kmemleak and
// the functions that call them.
func (j *judge) audit() {
	for _, m := range j.c.Modules {
		if em := j.sym.modules[m.Name]; em != nil && m.UnderTest {
			j.run.Audit = append(j.run.Audit, em.audit(m.Name)...)
		}
	}
}

// audit finds the calls by their relocations. An import that no relocation of
// code uses, for instance one kept in a table of functions, is listed without a
// function.
func (m *elfModule) audit(module string) []AuditEntry {
	callers := map[AuditEntry]bool{}
	for i, s := range m.file.Sections {
		if s.Flags&elf.SHF_EXECINSTR == 0 {
			continue
		}
		// A section whose relocations cannot be read has no callers to name:
		// its imports are listed below all the same.
		_ = m.eachRelocation(i, func(off uint64, _ uint32, sym elf.Symbol, _ int64) error {
			if sym.Section == elf.SHN_UNDEF && silencers[sym.Name] {
				fn, _ := m.function(m.bases[i] + off)
				callers[AuditEntry{module, sym.Name, baseName(fn.name)}] = true
			}
			return nil
		})
	}
	called := map[string]bool{}
	var out []AuditEntry
	for e := range callers {
		called[e.Import] = true
		out = append(out, e)
	}
	for name := range m.undef {
		if silencers[name] && !called[name] {
			out = append(out, AuditEntry{Module: module, Import: name})
		}
	}
	slices.SortFunc(out, func(a, b AuditEntry) int {
		return cmp.Or(cmp.Compare(a.Import, b.Import), cmp.Compare(a.Function, b.Function))
	})
	return out
}

// registersDriver tells whether a module under test imports what registers a
// driver with a bus: __pci_register_driver, usb_register_driver, driver_register
// and their like.
func (j *judge) registersDriver() bool {
	for _, m := range j.c.Modules {
		em := j.sym.modules[m.Name]
		if em == nil || !m.UnderTest {
			continue
		}
		for name := range em.undef {
			if strings.Contains(name, "driver_register") || strings.Contains(name, "register_driver") && !strings.Contains(name, "unregister") {
				return true
			}
		}
	}
	return false
}
