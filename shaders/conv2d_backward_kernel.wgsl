// Gradient of a dense convolution's kernel as a product of matrices, [outputs, pixels] by [pixels, channels * taps], of
// which the right one is never in memory. The pixels of all images are cut into parts, one after another; a workgroup of
// 8 x 8 invocations computes 64 x 64 entries of a part's share.
@group(0) @binding(0) var<storage, read_write> x: array<f32>;        // [B, G, C, H, W]
@group(0) @binding(1) var<storage, read_write> gradient: array<f32>; // [B, G, O, h, w]
@group(0) @binding(2) var<storage, read_write> shares: array<f32>;   // [parts, G, O, C, k, l]
// See `words` of the launcher.
@group(0) @binding(3) var<storage, read_write> info: array<i32>;

const DEPTH = {{ depth }};
// Vectors of four entries from one pixel to the next, so that neighbouring ones are in different memory banks.
const STRIDE = 17u;

var<workgroup> left: array<vec4<f32>, {{ tile }}>;
var<workgroup> right: array<vec4<f32>, {{ tile }}>;
// What the columns of the right matrix are: where the channel begins, row and column of the tap, 1 where there is one.
var<workgroup> taps: array<vec4<i32>, 64>;
var<workgroup> length: i32;

// What the window at `corner` of the image that begins at `start` has under a tap.
fn sample(tap: vec4<i32>, start: i32, corner: vec2<i32>) -> f32 {
    let row = corner.x + tap.y;
    let column = corner.y + tap.z;
    if tap.w == 0 || row < 0 || row >= info[3] || column < 0 || column >= info[4] { return 0.0; }
    return x[u32(start + tap.x + row * info[4] + column)];
}

fn gradient_at(start: i32, output: i32, pixel: i32) -> f32 {
    if output >= info[2] { return 0.0; }
    return gradient[u32(start + output * info[5] * info[6] + pixel)];
}

// Four columns of an output from `column` on.
fn store(part_group: i32, output: i32, column: i32, sums: vec4<f32>) {
    if output >= info[2] { return; }
    let columns = info[1] * info[7] * info[8];
    for (var lane = 0; lane < 4; lane++) {
        if column + lane >= columns { return; }
        shares[u32((part_group * info[2] + output) * columns + column + lane)] = sums[lane];
    }
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // Barriers are in a loop over this: a bound that is the same for the whole workgroup, as the language has it.
    if lane == 0u { length = info[17]; }
    let window = info[7] * info[8];
    let column = i32(tile.x) * 64 + i32(lane);
    let within = column % window;
    taps[lane] = vec4<i32>(
        column / window * info[3] * info[4],
        within / info[8] * info[11],
        within % info[8] * info[12],
        select(0, 1, column < info[1] * window),
    );
    let bound = workgroupUniformLoad(&length);
    let groups = info[15];
    let part_group = i32(tile.z);
    let image_or_part = part_group;
    let group = part_group % groups;
    let first = part_group / groups * bound;
    let plane = info[5] * info[6];
    let end = min(first + bound, info[0] * plane);
    let deep = lane % 16u;
    let quad = lane / 16u;
    let ty = lane / 8u;
    let tx = lane % 8u;
    // Named one by one: an array in a loop need not stay in registers.
    {{ declare }}
    for (var start = 0; start < bound; start += DEPTH) {
        let at = first + start + i32(deep);
        let image_group = at / plane * groups + group;
        let pixel = at % plane;
        let corner = vec2<i32>(pixel / info[6] * info[9] - info[13], pixel % info[6] * info[10] - info[14]);
        let image = image_group * info[1] * info[3] * info[4];
        let from_gradient = image_group * info[2] * plane;
        for (var step = 0u; step < 4u; step++) {
            let q = quad + 4u * step;
            let output = i32(tile.y * 64u + 4u * q);
            var gradients = vec4<f32>();
            var values = vec4<f32>();
            if at < end {
                gradients = vec4<f32>(
                    gradient_at(from_gradient, output, pixel),
                    gradient_at(from_gradient, output + 1, pixel),
                    gradient_at(from_gradient, output + 2, pixel),
                    gradient_at(from_gradient, output + 3, pixel),
                );
                values = vec4<f32>(
                    sample(taps[4u * q], image, corner),
                    sample(taps[4u * q + 1u], image, corner),
                    sample(taps[4u * q + 2u], image, corner),
                    sample(taps[4u * q + 3u], image, corner),
                );
            }
            left[deep * STRIDE + q] = gradients;
            right[deep * STRIDE + q] = values;
        }
        workgroupBarrier();
        for (var k = 0u; k < u32(DEPTH); k++) {
            {{ add }}
        }
        workgroupBarrier();
    }
    let to_output = i32(tile.y * 64u + ty * 4u);
    let to_place = i32(tile.x * 64u + tx * 4u);
    {{ store }}
}
