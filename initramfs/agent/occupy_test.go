package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestFreeObjects reads lines of a guest's /proc/slabinfo (6.12, x86_64).
func TestFreeObjects(t *testing.T) {
	table := `slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>
memdup_user-4k         0      8   4096    8    8 : tunables    0    0    0 : slabdata      1      1      0
kmalloc-rcl-192      264    273    192   21    1 : tunables    0    0    0 : slabdata     13     13      0
kmalloc-4k           234    240   4096    8    8 : tunables    0    0    0 : slabdata     30     30      0
kmalloc-8              0   5120      8  512    1 : tunables    0    0    0 : slabdata     10     10      0
kmalloc-192          355    378    192   21    1 : tunables    0    0    0 : slabdata     18     18      0
kmalloc-96           462    462     96   42    1 : tunables    0    0    0 : slabdata     11     11      0
kmalloc-64           `
	assert.Equal(t, map[int]int{4096: 6, 8: 512, 192: 23, 96: 0}, freeObjects([]byte(table), 512))
	assert.Empty(t, freeObjects(nil, 512))
}
