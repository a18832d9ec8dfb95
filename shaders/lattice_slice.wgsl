// Every pixel's values from the lattice points around it. One invocation for each channel and pixel.
@group(0) @binding(0) var<storage, read_write> values: array<f32>;     // [M, C]
@group(0) @binding(1) var<storage, read_write> normaliser: array<f32>; // [N]
@group(0) @binding(2) var<storage, read_write> entries: array<u32>;    // [N, D + 1]
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;    // [N, D + 1]
@group(0) @binding(4) var<storage, read_write> filtered: array<f32>;   // [C, N] from the start on
@group(0) @binding(5) var<storage, read_write> info: array<u32>;       // invocations, N, C, factor, start

const D = {{ dimensions }}u;

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + id.y * {{ row }}u;
    if i >= info[0] { return; }
    let pixel = i % info[1];
    let channel = i / info[1];
    var sum = 0.0;
    for (var r = 0u; r <= D; r++) {
        let entry = pixel * (D + 1u) + r;
        sum += weights[entry] * values[entries[entry] * info[2] + channel];
    }
    filtered[info[4] + i] = sum * bitcast<f32>(info[3]) * normaliser[pixel];
}
