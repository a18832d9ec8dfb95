// Lists the entries by lattice point and cuts those of a point into runs, for the splat. One invocation for each entry.
@group(0) @binding(0) var<storage, read_write> entries: array<u32>;        // [D + 1, N], lattice points
@group(0) @binding(1) var<storage, read_write> numbers: array<u32>;        // [D + 1, N], of an entry among those of its point
@group(0) @binding(2) var<storage, read_write> ranges: array<u32>;         // [M, 3]: entries, first place, first run
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;        // [D + 1, N]
@group(0) @binding(4) var<storage, read_write> sorted_pixels: array<u32>;  // [(D + 1) N]
@group(0) @binding(5) var<storage, read_write> sorted_weights: array<f32>; // [(D + 1) N]
@group(0) @binding(6) var<storage, read_write> runs: array<u32>;           // [R, 3]: point, first place, entries
@group(0) @binding(7) var<storage, read_write> info: array<u32>;           // invocations, N

const RUN = {{ run }}u;

@compute @workgroup_size({{ workgroup }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x + id.y * {{ row }}u;
    if i >= info[0] { return; }
    let point = entries[i];
    let number = numbers[i];
    let place = ranges[3u * point + 1u] + number;
    sorted_pixels[place] = i % info[1];
    sorted_weights[place] = weights[i];
    if number % RUN == 0u {
        let run = 3u * (ranges[3u * point + 2u] + number / RUN);
        runs[run] = point;
        runs[run + 1u] = place;
        runs[run + 2u] = min(RUN, ranges[3u * point] - number);
    }
}
