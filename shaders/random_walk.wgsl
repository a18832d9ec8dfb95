// One step of the random walk: to = normaliser * (W from), W the symmetric pair weights with ones on the diagonal
// (AffinityNet Eq. 11-12). One invocation for each entry of [B, C, H, W].
@group(0) @binding(0) var<storage, read_write> weights: array<f32>;    // [B, K, H, W]
@group(0) @binding(1) var<storage, read_write> normaliser: array<f32>; // [B, 1, H, W]
@group(0) @binding(2) var<storage, read_write> scores: array<f32>;     // [B, C, H, W]
@group(0) @binding(3) var<storage, read_write> next: array<f32>;       // [B, C, H, W]
@group(0) @binding(4) var<storage, read_write> offsets: array<i32>;    // [K, 2] as (dy, dx)
@group(0) @binding(5) var<storage, read_write> info: array<u32>;       // invocations, C, H, W, K

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + id.y * {{ row }}u;
    if i >= info[0] { return; }
    let h = i32(info[2]);
    let w = i32(info[3]);
    let k = info[4];
    let hw = u32(h * w);
    let pixel = i % hw;
    let plane = i - pixel;
    let batch = i / (hw * info[1]);
    let pairs = batch * k * hw;
    let y = i32(pixel) / w;
    let x = i32(pixel) % w;
    var sum = scores[i];
    for (var pair = 0u; pair < k; pair++) {
        let dy = offsets[2u * pair];
        let dx = offsets[2u * pair + 1u];
        let y1 = y + dy;
        let x1 = x + dx;
        if y1 >= 0 && y1 < h && x1 >= 0 && x1 < w {
            sum += weights[pairs + pair * hw + pixel] * scores[plane + u32(y1 * w + x1)];
        }
        let y0 = y - dy;
        let x0 = x - dx;
        if y0 >= 0 && y0 < h && x0 >= 0 && x0 < w {
            let j = u32(y0 * w + x0);
            sum += weights[pairs + pair * hw + j] * scores[plane + j];
        }
    }
    next[i] = sum * normaliser[batch * hw + pixel];
}
