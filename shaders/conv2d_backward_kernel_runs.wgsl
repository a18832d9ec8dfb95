// As conv2d_backward_kernel.wgsl, for adapters that are programs on a processor: an invocation sums {{ outputs }} outputs
// times {{ channels }} channels times {{ taps }} taps of a row of the kernel over the rows of a part on its own. It walks
// along a row of the output and keeps what it has loaded of the image's for the taps that follow.
@group(0) @binding(0) var<storage, read_write> x: array<f32>;        // [B, G, C, H, W]
@group(0) @binding(1) var<storage, read_write> gradient: array<f32>; // [B, G, O, h, w]
@group(0) @binding(2) var<storage, read_write> shares: array<f32>;   // [parts, G, O, C, k, l]
// See `words` of the launcher.
@group(0) @binding(3) var<storage, read_write> info: array<i32>;

@compute @workgroup_size({{ lanes }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let n = i32(id.x + id.y * {{ run_row }}u);
    let parts = info[16];
    if n >= info[22] * parts { return; }
    let channels = info[1];
    let outputs = info[2];
    let height = info[3];
    let width = info[4];
    let out_height = info[5];
    let out_width = info[6];
    let unit = info[18];
    let apart = info[19];
    let part = n / info[22];
    let i = n % info[7];
    let first_channel = n / info[7] % info[20] * {{ channels }};
    let first_output = n / (info[7] * info[20]) % info[21] * {{ outputs }};
    let j = n % info[22] / (info[7] * info[20] * info[21]) * {{ taps }};
    let groups = info[15];
    let group = i32(id.z);
    let area = out_height * out_width;
    // Channels and outputs that there are not repeat the last one.
    {{ rows }}
    {{ declare }}
    let all = info[0] * out_height;
    let last = i32(u32(all) * u32(part + 1) / u32(parts));
    for (var r = i32(u32(all) * u32(part) / u32(parts)); r < last; r++) {
        let row = r % out_height * info[9] + i * info[11] - info[13];
        if row < 0 || row >= height { continue; }
        let image_group = r / out_height * groups + group;
        let from_gradient = image_group * outputs * area + r % out_height * out_width;
        let from_image = image_group * channels * height * width + row * width;
        for (var phase = 0; phase < apart; phase++) {
            var column = phase * info[10] + j * info[12] - info[14];
            {{ before }}
            for (var at = phase; at < out_width; at += apart) {
                {{ load }}
                {{ add }}
                column += info[10] * apart;
            }
        }
    }
    {{ store }}
}
