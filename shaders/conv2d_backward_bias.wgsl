// Gradient of a dense convolution's bias: the sum over images and pixels. A workgroup for each output channel, whose
// invocations sum every {{ workgroup }}th pixel, then pairwise, in one order on any device.
@group(0) @binding(0) var<storage, read_write> gradient: array<f32>; // [B, O, N]
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;     // [O]
// B, O, N
@group(0) @binding(2) var<storage, read_write> info: array<u32>;

var<workgroup> parts: array<f32, {{ workgroup }}>;

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let channel = group.x;
    var sum = 0.0;
    for (var image = 0u; image < info[0]; image++) {
        let start = (image * info[1] + channel) * info[2];
        for (var i = local; i < info[2]; i += {{ workgroup }}u) {
            sum += gradient[start + i];
        }
    }
    parts[local] = sum;
    workgroupBarrier();
    for (var span = {{ workgroup }}u / 2u; span > 0u; span /= 2u) {
        if local < span { parts[local] += parts[local + span]; }
        workgroupBarrier();
    }
    if local == 0u { sums[channel] = parts[0]; }
}
