// Adds every pixel's values to the lattice points around it, as 64-bit fixed-point numbers in two words: integer sums
// are the same in any order. One invocation for each channel and pixel.
@group(0) @binding(0) var<storage, read_write> values: array<f32>;           // [C, N]
@group(0) @binding(1) var<storage, read_write> normaliser: array<f32>;       // [N]
@group(0) @binding(2) var<storage, read_write> entries: array<u32>;          // [N, D + 1]
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;          // [N, D + 1]
@group(0) @binding(4) var<storage, read_write> sums: array<atomic<u32>>;     // [M, C, 2], low and high word
@group(0) @binding(5) var<storage, read_write> largest: array<f32>;          // [1], bound of |values * normaliser|
@group(0) @binding(6) var<storage, read_write> info: array<u32>;             // invocations, N, C

const D = {{ dimensions }}u;

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + id.y * {{ row }}u;
    if i >= info[0] { return; }
    let pixel = i % info[1];
    let channel = i / info[1];
    let value = values[i] * normaliser[pixel] * ({{ fixed }} / max(largest[0], 1e-30));
    for (var r = 0u; r <= D; r++) {
        let entry = pixel * (D + 1u) + r;
        let fixed = i32(round(value * weights[entry]));
        if fixed == 0 { continue; }
        let at = 2u * (entries[entry] * info[2] + channel);
        let word = bitcast<u32>(fixed);
        let before = atomicAdd(&sums[at], word);
        // Sign extension, and the carry out of the low word.
        let high = select(0u, 0xFFFFFFFFu, fixed < 0) + select(0u, 1u, before > 0xFFFFFFFFu - word);
        if high != 0u { atomicAdd(&sums[at + 1u], high); }
    }
}
