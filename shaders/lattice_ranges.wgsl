// Gives every lattice point a range of places for its entries and one for its runs, in whatever order. One invocation
// for each point.
@group(0) @binding(0) var<storage, read_write> ranges: array<u32>;        // [M, 3], entries in; first place, first run out
@group(0) @binding(1) var<storage, read_write> taken: array<atomic<u32>>; // places, runs; zero before
@group(0) @binding(2) var<storage, read_write> info: array<u32>;          // invocations = M

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let point = id.x + id.y * {{ row }}u;
    if point >= info[0] { return; }
    let entries = ranges[3u * point];
    ranges[3u * point + 1u] = atomicAdd(&taken[0], entries);
    ranges[3u * point + 2u] = atomicAdd(&taken[1], (entries + {{ run }}u - 1u) / {{ run }}u);
}
