// Gradients of a depthwise convolution's kernel and bias. A workgroup for each entry of the kernel and, behind them, the
// bias of a channel: [C, k * k + 1]. Its invocations sum over images and pixels, then pairwise, in one order on any device.
@group(0) @binding(0) var<storage, read_write> x: array<f32>;        // [B, C, H, W]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;        // [B, C, h, w]
@group(0) @binding(2) var<storage, read_write> gradient: array<f32>; // [B, C, h, w]
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;     // [C, k * k + 1]
// workgroups, C, H, W, h, w, k, stride, dilation, rows and columns of padding before, bits of the ceiling, B
@group(0) @binding(4) var<storage, read_write> info: array<u32>;

var<workgroup> parts: array<f32, {{ workgroup }}>;

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let taps = info[6] * info[6] + 1u;
    let entry = group.x + group.y * {{ groups }}u;
    let channel = entry / taps;
    let tap = entry % taps;
    let out_hw = info[4] * info[5];
    let in_h = i32(info[2]);
    let in_w = i32(info[3]);
    let ceiling = bitcast<f32>(info[11]);
    var sum = 0.0;
    if entry < info[0] {
        for (var i = local; i < info[12] * out_hw; i += {{ workgroup }}u) {
            let plane = i / out_hw * info[1] + channel;
            let pixel = i % out_hw;
            let j = plane * out_hw + pixel;
            if ceiling >= 0.0 && !(y[j] > 0.0 && y[j] < ceiling) { continue; }
            var value = 1.0;
            if tap + 1u < taps {
                let row = i32(pixel / info[5] * info[7] + tap / info[6] * info[8]) - i32(info[9]);
                let column = i32(pixel % info[5] * info[7] + tap % info[6] * info[8]) - i32(info[10]);
                if row < 0 || row >= in_h || column < 0 || column >= in_w { continue; }
                value = x[plane * info[2] * info[3] + u32(row * in_w + column)];
            }
            sum += value * gradient[j];
        }
    }
    parts[local] = sum;
    workgroupBarrier();
    for (var span = {{ workgroup }}u / 2u; span > 0u; span /= 2u) {
        if local < span { parts[local] += parts[local + span]; }
        workgroupBarrier();
    }
    if local == 0u && entry < info[0] { sums[entry] = parts[0]; }
}
