// Fixed-point sums to floats, and the sums back to zero for the next splat. One invocation for each point and channel.
@group(0) @binding(0) var<storage, read_write> sums: array<u32>;    // [M, C, 2]
@group(0) @binding(1) var<storage, read_write> values: array<f32>;  // [M, C]
@group(0) @binding(2) var<storage, read_write> largest: array<f32>; // [1]
@group(0) @binding(3) var<storage, read_write> info: array<u32>;    // invocations

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + id.y * {{ row }}u;
    if i >= info[0] { return; }
    var low = sums[2u * i];
    var high = sums[2u * i + 1u];
    let negative = (high & 0x80000000u) != 0u;
    // Absolute value first: both words of a small negative sum are large and would cancel.
    if negative {
        low = ~low + 1u;
        high = ~high + select(0u, 1u, low == 0u);
    }
    let magnitude = (f32(high) * 4294967296.0 + f32(low)) * (max(largest[0], 1e-30) / {{ fixed }});
    values[i] = select(magnitude, -magnitude, negative);
    sums[2u * i] = 0u;
    sums[2u * i + 1u] = 0u;
}
