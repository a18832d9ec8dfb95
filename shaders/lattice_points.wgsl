// Replaces the slot of every entry by its lattice point, and numbers the entries of each point, in whatever order they
// come. One invocation for each entry.
@group(0) @binding(0) var<storage, read_write> entries: array<u32>;        // [D + 1, N], slots in, points out
@group(0) @binding(1) var<storage, read_write> slot_points: array<u32>;    // [capacity]
@group(0) @binding(2) var<storage, read_write> ranges: array<atomic<u32>>; // [M, 3], zero before: entries, and two of no account
@group(0) @binding(3) var<storage, read_write> numbers: array<u32>;        // [D + 1, N]
@group(0) @binding(4) var<storage, read_write> info: array<u32>;           // invocations

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + id.y * {{ row }}u;
    if i >= info[0] { return; }
    let point = slot_points[entries[i]];
    entries[i] = point;
    numbers[i] = atomicAdd(&ranges[3u * point], 1u);
}
