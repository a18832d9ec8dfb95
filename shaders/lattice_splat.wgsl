// Adds every pixel's values to the lattice points around it, as 64-bit fixed-point numbers in two words: integer sums
// are the same in any order. One invocation for each pixel and block of channels.
@group(0) @binding(0) var<storage, read_write> values: array<f32>;           // [C, N]
@group(0) @binding(1) var<storage, read_write> normaliser: array<f32>;       // [N]
@group(0) @binding(2) var<storage, read_write> entries: array<u32>;          // [D + 1, N]
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;          // [D + 1, N]
@group(0) @binding(4) var<storage, read_write> sums: array<atomic<u32>>;     // [M, C, 2], low and high word
@group(0) @binding(5) var<storage, read_write> largest: array<f32>;          // [1], bound of |values * normaliser|
@group(0) @binding(6) var<storage, read_write> info: array<u32>;             // invocations, N, C

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
    let scale = normaliser[pixel] * ({{ fixed }} / max(largest[0], 1e-30));
    var scaled: array<f32, BLOCK>;
    for (var c = 0u; c < BLOCK; c++) {
        if c >= count { break; }
        scaled[c] = values[(first + c) * n + pixel] * scale;
    }
    for (var r = 0u; r <= D; r++) {
        let weight = weights[r * n + pixel];
        let point = 2u * (entries[r * n + pixel] * info[2] + first);
        for (var c = 0u; c < BLOCK; c++) {
            if c >= count { break; }
            let fixed = i32(round(scaled[c] * weight));
            if fixed == 0 { continue; }
            let word = bitcast<u32>(fixed);
            let before = atomicAdd(&sums[point + 2u * c], word);
            // Sign extension, and the carry out of the low word.
            let high = select(0u, 0xFFFFFFFFu, fixed < 0) + select(0u, 1u, before > 0xFFFFFFFFu - word);
            if high != 0u { atomicAdd(&sums[point + 2u * c + 1u], high); }
        }
    }
}
