// Gradient of the features through pair_affinity: sum over a pixel's pairs of slope * sign(f_i - f_j).
// One invocation for each entry of [B, D, H, W]; a pair is visited from both of its ends, so nothing is scattered.
@group(0) @binding(0) var<storage, read_write> features: array<f32>; // [B, D, H, W]
@group(0) @binding(1) var<storage, read_write> slope: array<f32>;    // [B, K, H, W], dL/d|f_i - f_j|
@group(0) @binding(2) var<storage, read_write> gradient: array<f32>; // [B, D, H, W]
@group(0) @binding(3) var<storage, read_write> offsets: array<i32>;  // [K, 2] as (dy, dx)
@group(0) @binding(4) var<storage, read_write> info: array<u32>;     // invocations, D, H, W, K

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + id.y * {{ row }}u;
    if i >= info[0] { return; }
    let d = info[1];
    let h = i32(info[2]);
    let w = i32(info[3]);
    let k = info[4];
    let hw = u32(h * w);
    let pixel = i % hw;
    let plane = i - pixel;
    let slopes = (i / (hw * d)) * k * hw;
    let y = i32(pixel) / w;
    let x = i32(pixel) % w;
    let own = features[i];
    var sum = 0.0;
    for (var pair = 0u; pair < k; pair++) {
        let dy = offsets[2u * pair];
        let dx = offsets[2u * pair + 1u];
        let y1 = y + dy;
        let x1 = x + dx;
        if y1 >= 0 && y1 < h && x1 >= 0 && x1 < w {
            let s = slope[slopes + pair * hw + pixel];
            sum += s * sign(own - features[plane + u32(y1 * w + x1)]);
        }
        let y0 = y - dy;
        let x0 = x - dx;
        if y0 >= 0 && y0 < h && x0 >= 0 && x0 < w {
            let j = u32(y0 * w + x0);
            sum += slope[slopes + pair * hw + j] * sign(own - features[plane + j]);
        }
    }
    gradient[i] = sum;
}
