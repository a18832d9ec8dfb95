// Affinity of a pixel with its partner at one offset: exp(-scale * sum over channels of |f_i - f_j|)
// (AffinityNet Eq. 3). One invocation for each entry of [B, K, H, W].
@group(0) @binding(0) var<storage, read_write> features: array<f32>; // [B, D, H, W]
@group(0) @binding(1) var<storage, read_write> affinity: array<f32>; // [B, K, H, W]
@group(0) @binding(2) var<storage, read_write> offsets: array<i32>;  // [K, 2] as (dy, dx)
@group(0) @binding(3) var<storage, read_write> info: array<u32>;     // invocations, D, H, W, K, bits of scale

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + id.y * {{ row }}u;
    if i >= info[0] { return; }
    let d = info[1];
    let h = info[2];
    let w = info[3];
    let k = info[4];
    let hw = h * w;
    let pixel = i % hw;
    let pair = (i / hw) % k;
    let batch = i / (hw * k);
    let y = i32(pixel / w) + offsets[2u * pair];
    let x = i32(pixel % w) + offsets[2u * pair + 1u];
    if y < 0 || y >= i32(h) || x < 0 || x >= i32(w) {
        affinity[i] = 0.0;
        return;
    }
    var a = batch * d * hw + pixel;
    var b = batch * d * hw + u32(y) * w + u32(x);
    var sum = 0.0;
    for (var c = 0u; c < d; c++) {
        sum += abs(features[a] - features[b]);
        a += hw;
        b += hw;
    }
    affinity[i] = exp(-bitcast<f32>(info[5]) * sum);
}
