// Adds every pixel's values to the lattice points around it, as 64-bit fixed-point numbers in two words: integer sums
// are the same in any order. One invocation for each run of a point's entries and block of channels: a run is summed in
// registers, so that few sums meet in memory.
@group(0) @binding(0) var<storage, read_write> values: array<f32>;       // [C, N]
@group(0) @binding(1) var<storage, read_write> runs: array<u32>;         // [R, 3]: point, first place, entries or 0
@group(0) @binding(2) var<storage, read_write> pixels: array<u32>;       // [(D + 1) N], by point
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;      // [(D + 1) N], by point
@group(0) @binding(4) var<storage, read_write> sums: array<atomic<u32>>; // [M, C, 2], low and high word
@group(0) @binding(5) var<storage, read_write> largest: array<f32>;      // [1], bound of |value * weight|
@group(0) @binding(6) var<storage, read_write> info: array<u32>;         // invocations, R, N, C

// A constant bound with a way out unrolls; a loop to `count` would keep the block in memory.
const BLOCK = {{ block }}u;

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + id.y * {{ row }}u;
    if i >= info[0] { return; }
    let n = info[2];
    let channels = info[3];
    let run = 3u * (i % info[1]);
    let first = i / info[1] * BLOCK;
    let count = min(BLOCK, channels - first);
    let start = runs[run + 1u];
    let end = start + runs[run + 2u];
    let scale = {{ fixed }} / max(largest[0], 1e-30);
    var sum: array<i32, BLOCK>;
    for (var place = start; place < end; place++) {
        let pixel = pixels[place];
        let weight = weights[place] * scale;
        for (var c = 0u; c < BLOCK; c++) {
            if c >= count { break; }
            sum[c] += i32(round(values[(first + c) * n + pixel] * weight));
        }
    }
    let at = 2u * (runs[run] * channels + first);
    for (var c = 0u; c < BLOCK; c++) {
        if c >= count { break; }
        if sum[c] == 0 { continue; }
        let word = bitcast<u32>(sum[c]);
        let before = atomicAdd(&sums[at + 2u * c], word);
        // Sign extension, and the carry out of the low word.
        let high = select(0u, 0xFFFFFFFFu, sum[c] < 0) + select(0u, 1u, before > 0xFFFFFFFFu - word);
        if high != 0u { atomicAdd(&sums[at + 2u * c + 1u], high); }
    }
}
