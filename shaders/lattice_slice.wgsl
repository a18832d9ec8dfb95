// Every pixel's values from the lattice points around it. One invocation for each pixel and block of channels.
@group(0) @binding(0) var<storage, read_write> values: array<f32>;     // [M, C]
@group(0) @binding(1) var<storage, read_write> normaliser: array<f32>; // [N]
@group(0) @binding(2) var<storage, read_write> entries: array<u32>;    // [D + 1, N]
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;    // [D + 1, N]
@group(0) @binding(4) var<storage, read_write> filtered: array<f32>;   // [C, N] from the start on
@group(0) @binding(5) var<storage, read_write> info: array<u32>;       // invocations, N, C, factor, start

const D = {{ dimensions }}u;
// A constant bound with a way out unrolls; a loop to `count` would keep the block in memory.
const BLOCK = {{ block }}u;

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + id.y * {{ row }}u;
    if i >= info[0] { return; }
    let n = info[1];
    let pixel = i % n;
    let first = i / n * BLOCK;
    let count = min(BLOCK, info[2] - first);
    var sums: array<f32, BLOCK>;
    for (var r = 0u; r <= D; r++) {
        let weight = weights[r * n + pixel];
        let point = entries[r * n + pixel] * info[2] + first;
        for (var c = 0u; c < BLOCK; c++) {
            if c >= count { break; }
            sums[c] += weight * values[point + c];
        }
    }
    let factor = bitcast<f32>(info[3]) * normaliser[pixel];
    for (var c = 0u; c < BLOCK; c++) {
        if c >= count { break; }
        filtered[info[4] + (first + c) * n + pixel] = sums[c] * factor;
    }
}
