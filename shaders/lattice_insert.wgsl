// Finds or makes the slot of every vertex in the hash table. A slot belongs to the first entry that took it and stands
// for the lattice point of that entry; keys are never stored, so nobody waits for a key to be written. One invocation
// for each entry (pixel and vertex).
@group(0) @binding(0) var<storage, read_write> simplex: array<i32>;               // [D, N], see lattice_key.wgsl
@group(0) @binding(1) var<storage, read_write> slots: array<atomic<u32>>;         // [capacity], entry + 1, 0 = free
@group(0) @binding(2) var<storage, read_write> slot_points: array<u32>;           // [capacity]
@group(0) @binding(3) var<storage, read_write> owners: array<u32>;                // [capacity], entry of each point
@group(0) @binding(4) var<storage, read_write> entries: array<u32>;               // [D + 1, N], slot of each entry
@group(0) @binding(5) var<storage, read_write> counters: array<atomic<u32>>;      // points, failures, bad features
@group(0) @binding(6) var<storage, read_write> info: array<u32>;                  // invocations, capacity, probes, N

const D = {{ dimensions }}u;

{{ key }}

fn same(a: u32, b: u32, n: u32) -> bool {
    for (var i = 0u; i < D; i++) {
        if coordinate(a, n, i) != coordinate(b, n, i) { return false; }
    }
    return true;
}

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let entry = id.x + id.y * {{ row }}u;
    if entry >= info[0] { return; }
    let mask = info[1] - 1u;
    let n = info[3];
    var hash = 0u;
    for (var i = 0u; i < D; i++) { hash = stir(hash, coordinate(entry, n, i)); }
    var slot = finish(hash) & mask;
    var probes = info[2];
    while probes > 0u {
        probes--;
        var owner = atomicLoad(&slots[slot]);
        if owner == 0u {
            let taken = atomicCompareExchangeWeak(&slots[slot], 0u, entry + 1u);
            if taken.exchanged {
                let point = atomicAdd(&counters[0], 1u);
                slot_points[slot] = point;
                owners[point] = entry;
                entries[entry] = slot;
                return;
            }
            // The weak form may fail without a reason: the same slot again.
            if taken.old_value == 0u { continue; }
            owner = taken.old_value;
        }
        if same(owner - 1u, entry, n) {
            entries[entry] = slot;
            return;
        }
        slot = (slot + 1u) & mask;
    }
    atomicAdd(&counters[1], 1u);
}
