// Depthwise convolution: every channel with its own k x k kernel, plus its bias, clamped to [0, ceiling] where that is
// not negative. One invocation for each entry of [B, C, h, w].
@group(0) @binding(0) var<storage, read_write> x: array<f32>;      // [B, C, H, W]
@group(0) @binding(1) var<storage, read_write> kernel: array<f32>; // [C, 1, k, k]
@group(0) @binding(2) var<storage, read_write> bias: array<f32>;   // [C]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;      // [B, C, h, w]
// invocations, C, H, W, h, w, k, stride, dilation, rows and columns of padding before, bits of the ceiling
@group(0) @binding(4) var<storage, read_write> info: array<u32>;

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + id.y * {{ row }}u;
    if i >= info[0] { return; }
    let in_h = i32(info[2]);
    let in_w = i32(info[3]);
    let out_hw = info[4] * info[5];
    let k = info[6];
    let plane = i / out_hw;
    let channel = plane % info[1];
    let pixel = i % out_hw;
    let top = i32(pixel / info[5] * info[7]) - i32(info[9]);
    let left = i32(pixel % info[5] * info[7]) - i32(info[10]);
    let start = plane * info[2] * info[3];
    var sum = bias[channel];
    for (var ky = 0u; ky < k; ky++) {
        let row = top + i32(ky * info[8]);
        if row < 0 || row >= in_h { continue; }
        for (var kx = 0u; kx < k; kx++) {
            let column = left + i32(kx * info[8]);
            if column < 0 || column >= in_w { continue; }
            sum += kernel[(channel * k + ky) * k + kx] * x[start + u32(row * in_w + column)];
        }
    }
    let ceiling = bitcast<f32>(info[11]);
    if ceiling >= 0.0 { sum = clamp(sum, 0.0, ceiling); }
    y[i] = sum;
}
