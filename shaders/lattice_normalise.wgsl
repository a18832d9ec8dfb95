// The sorted entries' weights times the normaliser of their pixels. One invocation for each entry.
@group(0) @binding(0) var<storage, read_write> weights: array<f32>;    // [(D + 1) N], by point
@group(0) @binding(1) var<storage, read_write> pixels: array<u32>;     // [(D + 1) N], by point
@group(0) @binding(2) var<storage, read_write> normaliser: array<f32>; // [N]
@group(0) @binding(3) var<storage, read_write> normalised: array<f32>; // [(D + 1) N], by point
@group(0) @binding(4) var<storage, read_write> info: array<u32>;       // invocations

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + id.y * {{ row }}u;
    if i >= info[0] { return; }
    normalised[i] = weights[i] * normaliser[pixels[i]];
}
