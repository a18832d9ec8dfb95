// Blur along one axis of the lattice: each point plus half of its two neighbours. One invocation for each point and
// block of channels.
@group(0) @binding(0) var<storage, read_write> source: array<f32>;     // [M, C]
@group(0) @binding(1) var<storage, read_write> to: array<f32>;         // [M, C]
@group(0) @binding(2) var<storage, read_write> neighbours: array<u32>; // [D + 1, M, 2]
@group(0) @binding(3) var<storage, read_write> info: array<u32>;       // invocations, C, M, axis

const NONE = 0xFFFFFFFFu;
// A constant bound with a way out unrolls; a loop to the number of channels would not.
const BLOCK = {{ block }}u;

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + id.y * {{ row }}u;
    if i >= info[0] { return; }
    let channels = info[1];
    let points = info[2];
    let point = i % points;
    let first = i / points * BLOCK;
    let pair = 2u * (info[3] * points + point);
    let a = neighbours[pair];
    let b = neighbours[pair + 1u];
    for (var c = first; c < first + BLOCK; c++) {
        if c >= channels { break; }
        var sum = 0.0;
        if a != NONE { sum += source[a * channels + c]; }
        if b != NONE { sum += source[b * channels + c]; }
        to[point * channels + c] = source[point * channels + c] + 0.5 * sum;
    }
}
