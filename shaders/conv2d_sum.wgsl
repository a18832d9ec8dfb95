// Sum of the parts of a kernel's gradient, from the first to the last. One invocation for each entry.
@group(0) @binding(0) var<storage, read_write> shares: array<f32>; // [parts, entries]
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;   // [entries]
// invocations, parts
@group(0) @binding(2) var<storage, read_write> info: array<u32>;

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + id.y * {{ row }}u;
    if i >= info[0] { return; }
    var sum = 0.0;
    for (var part = 0u; part < info[1]; part++) {
        sum += shares[part * info[0] + i];
    }
    sums[i] = sum;
}
