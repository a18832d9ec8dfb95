// Blur along one axis of the lattice: each point plus half of its two neighbours. One invocation for each point and
// channel.
@group(0) @binding(0) var<storage, read_write> source: array<f32>;       // [M, C]
@group(0) @binding(1) var<storage, read_write> to: array<f32>;         // [M, C]
@group(0) @binding(2) var<storage, read_write> neighbours: array<u32>; // [D + 1, M, 2]
@group(0) @binding(3) var<storage, read_write> info: array<u32>;       // invocations, C, M, axis

const NONE = 0xFFFFFFFFu;

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + id.y * {{ row }}u;
    if i >= info[0] { return; }
    let channels = info[1];
    let channel = i % channels;
    let pair = 2u * (info[3] * info[2] + i / channels);
    var sum = 0.0;
    let a = neighbours[pair];
    if a != NONE { sum += source[a * channels + channel]; }
    let b = neighbours[pair + 1u];
    if b != NONE { sum += source[b * channels + channel]; }
    to[i] = source[i] + 0.5 * sum;
}
