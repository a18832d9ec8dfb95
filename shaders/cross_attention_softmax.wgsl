// Logits of a part of the keys → exponentials beyond each query's largest logit so far, and what the sums so far are to
// be scaled by since that has grown (online softmax, Milakov and Gimelshein 2018). One workgroup for 32 queries.
@group(0) @binding(0) var<storage, read_write> slab: array<f32>;       // [images, keys, queries] of the part
@group(0) @binding(1) var<storage, read_write> statistics: array<f32>; // [B, 2, N]: largest logit, sum of exponentials
@group(0) @binding(2) var<storage, read_write> scale: array<f32>;      // [B, N]
@group(0) @binding(3) var<storage, read_write> info: array<u32>;       // N, M, D, first query and key, queries and keys
                                                                       // of the part, first image

const WIDTH = 32u;
const LINES = 8u;
var<workgroup> partial: array<f32, 256>;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let queries = info[0];
    let part_queries = info[5];
    let part_keys = info[6];
    let line = lane / WIDTH;
    let at = group.x * WIDTH + lane % WIDTH;
    let inside = at < part_queries;
    let slab_start = group.z * part_keys * part_queries + at;
    let image = info[7] + group.z;
    let scale_at = image * queries + info[3] + at;
    let largest_at = scale_at + image * queries;
    let sum_at = largest_at + queries;

    var largest = -3.4e38;
    if inside {
        for (var row = line; row < part_keys; row += LINES) {
            largest = max(largest, slab[slab_start + row * part_queries]);
        }
    }
    partial[lane] = largest;
    workgroupBarrier();
    if line == 0u && inside {
        for (var other = 1u; other < LINES; other++) {
            largest = max(largest, partial[lane + other * WIDTH]);
        }
        if info[4] > 0u {
            let before = statistics[largest_at];
            largest = max(largest, before);
            scale[scale_at] = exp(before - largest);
        }
        partial[lane] = largest;
    }
    workgroupBarrier();
    largest = partial[lane % WIDTH];
    workgroupBarrier();
    var sum = 0.0;
    if inside {
        for (var row = line; row < part_keys; row += LINES) {
            let weight = exp(slab[slab_start + row * part_queries] - largest);
            slab[slab_start + row * part_queries] = weight;
            sum += weight;
        }
    }
    partial[lane] = sum;
    workgroupBarrier();
    if line == 0u && inside {
        for (var other = 1u; other < LINES; other++) {
            sum += partial[lane + other * WIDTH];
        }
        if info[4] > 0u {
            sum += statistics[sum_at] * scale[scale_at];
        }
        statistics[largest_at] = largest;
        statistics[sum_at] = sum;
    }
}
