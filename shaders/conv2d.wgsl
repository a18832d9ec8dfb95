// A dense convolution as a product of matrices, [outputs, channels * taps] by [channels * taps, places], of which the
// right one is never in memory: its entries are read from the image while tiles are filled. A place is a pixel of the
// output or, where the gradient of an input is computed, a pixel of one phase of the stride: see `Gather` for the terms.
//
// A workgroup of 8 x 8 invocations computes 64 outputs at 64 places, an invocation 8 of either. Channels are taken
// {{ depth }} at a time, and all taps of these one after another, so that no index has to be divided and the kernel's
// entries, which lie tap by tap, stay in the cache.
@group(0) @binding(0) var<storage, read_write> x: array<f32>;      // [B, G, C, H, W]
@group(0) @binding(1) var<storage, read_write> kernel: array<f32>; // strides in info
@group(0) @binding(2) var<storage, read_write> bias: array<f32>;   // [G, O], where info says so
@group(0) @binding(3) var<storage, read_write> y: array<f32>;      // [B, G, O, target rows, target columns]
// See `Gather::words`.
@group(0) @binding(4) var<storage, read_write> info: array<i32>;

const DEPTH = {{ depth }};
// Vectors of four entries from one channel to the next, so that neighbouring ones are in different memory banks.
const STRIDE = 17u;

var<workgroup> left: array<vec4<f32>, {{ tile }}>;
var<workgroup> right: array<vec4<f32>, {{ tile }}>;
var<workgroup> loops: vec3<i32>;

fn weight(start: i32, output: i32, channel: i32) -> f32 {
    if output >= info[2] || channel >= info[1] { return 0.0; }
    return kernel[u32(start + output * info[22] + channel * info[23])];
}

// Four places of an output from `place` on.
fn store(image_group: i32, output: i32, place: i32, sums: vec4<f32>) {
    if output >= info[2] { return; }
    var base = 0.0;
    if info[28] != 0 { base = bias[u32(image_group % info[27] * info[2] + output)]; }
    let plane = (image_group * info[2] + output) * info[15] * info[16];
    for (var lane = 0; lane < 4; lane++) {
        let at = place + lane;
        if at >= info[5] * info[6] { return; }
        let row = at / info[6] * info[17] + info[19];
        let column = at % info[6] * info[18] + info[20];
        y[u32(plane + row * info[16] + column)] = base + sums[lane];
    }
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // Barriers are in loops over these: bounds that are the same for the whole workgroup, as the language has it.
    if lane == 0u { loops = vec3<i32>(info[1], info[7], info[8]); }
    let bounds = workgroupUniformLoad(&loops);
    let image_group = i32(tile.z);
    let image_or_part = image_group;
    let group = image_group % info[27];
    let columns = vec4<i32>(info[6]);
    let size = vec2<i32>(info[3], info[4]);
    // The four places whose values this invocation loads, of every fourth channel, and their windows' first pixels.
    let quad = lane % 16u;
    let layer = i32(lane / 16u);
    let places = vec4<i32>(i32(tile.x) * 64 + i32(quad) * 4) + vec4<i32>(0, 1, 2, 3);
    let exist = places < vec4<i32>(info[5] * info[6]);
    let top = places / columns * info[9] - vec4<i32>(info[13]);
    let side = places % columns * info[10] - vec4<i32>(info[14]);
    // The channel of the kernel that it loads, of four outputs in every sixteen.
    let deep = i32(lane % 16u);
    let first_output = i32(tile.y) * 64 + i32(lane / 16u) * 4;
    let weights = group * info[21] + info[26];
    let ty = lane / 8u;
    let tx = lane % 8u;
    // Named one by one: an array in a loop need not stay in registers.
    {{ declare }}
    for (var channel = 0; channel < bounds.x; channel += DEPTH) {
        for (var i = 0; i < bounds.y; i++) {
            for (var j = 0; j < bounds.z; j++) {
                let row = top + vec4<i32>(i * info[11]);
                let column = side + vec4<i32>(j * info[12]);
                let inside = exist & (row >= vec4<i32>(0)) & (row < vec4<i32>(size.x))
                    & (column >= vec4<i32>(0)) & (column < vec4<i32>(size.y));
                let pixel = row * size.y + column;
                let tap = weights + i * info[24] + j * info[25];
                for (var step = 0; step < DEPTH / 4; step++) {
                    let c = channel + layer + 4 * step;
                    let plane = (image_group * bounds.x + c) * size.x * size.y;
                    var values = vec4<f32>();
                    if c < bounds.x {
                        if inside.x { values.x = x[u32(plane + pixel.x)]; }
                        if inside.y { values.y = x[u32(plane + pixel.y)]; }
                        if inside.z { values.z = x[u32(plane + pixel.z)]; }
                        if inside.w { values.w = x[u32(plane + pixel.w)]; }
                    }
                    right[u32(layer + 4 * step) * STRIDE + quad] = values;
                    let output = first_output + 16 * step;
                    let from_channel = channel + deep;
                    left[u32(deep) * STRIDE + lane / 16u + 4u * u32(step)] = vec4<f32>(
                        weight(tap, output, from_channel),
                        weight(tap, output + 1, from_channel),
                        weight(tap, output + 2, from_channel),
                        weight(tap, output + 3, from_channel),
                    );
                }
                workgroupBarrier();
                for (var k = 0u; k < u32(DEPTH); k++) {
                    {{ add }}
                }
                workgroupBarrier();
            }
        }
    }
    let to_output = i32(tile.y * 64u + ty * 4u);
    let to_place = i32(tile.x * 64u + tx * 4u);
    {{ store }}
}
