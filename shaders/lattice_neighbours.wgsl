// Both neighbours of every lattice point along every axis of the lattice, or NONE. One invocation for each point, axis
// and direction.
@group(0) @binding(0) var<storage, read_write> simplex: array<i32>;     // [D, N], see lattice_key.wgsl
@group(0) @binding(1) var<storage, read_write> slots: array<u32>;       // [capacity], entry + 1, 0 = free
@group(0) @binding(2) var<storage, read_write> slot_points: array<u32>; // [capacity]
@group(0) @binding(3) var<storage, read_write> owners: array<u32>;      // [M]
@group(0) @binding(4) var<storage, read_write> neighbours: array<u32>;  // [D + 1, M, 2]
@group(0) @binding(5) var<storage, read_write> info: array<u32>;        // invocations, capacity, M, N

const D = {{ dimensions }}u;
const NONE = 0xFFFFFFFFu;

{{ key }}

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let index = id.x + id.y * {{ row }}u;
    if index >= info[0] { return; }
    let mask = info[1] - 1u;
    let n = info[3];
    let axis = index / (2u * info[2]);
    let entry = owners[index / 2u % info[2]];
    let step = select(1, -1, index % 2u == 0u);
    var hash = 0u;
    for (var i = 0u; i < D; i++) {
        hash = stir(hash, coordinate(entry, n, i) + select(step, -step * i32(D), i == axis));
    }
    var slot = finish(hash) & mask;
    var found = NONE;
    // A table without a free slot holds no more points after as many steps.
    for (var probes = info[1]; probes > 0u; probes--) {
        let owner = slots[slot];
        if owner == 0u { break; }
        var equal = true;
        for (var i = 0u; i < D; i++) {
            let wanted = coordinate(entry, n, i) + select(step, -step * i32(D), i == axis);
            if coordinate(owner - 1u, n, i) != wanted { equal = false; break; }
        }
        if equal {
            found = slot_points[slot];
            break;
        }
        slot = (slot + 1u) & mask;
    }
    neighbours[index] = found;
}
