// As conv2d.wgsl, for adapters that are programs on a processor, where a load takes as long as dozens of products,
// whatever memory it is from, and a barrier gives up all registers: an invocation computes {{ outputs }} outputs at
// {{ places }} places on its own, and what it has loaded of a row serves {{ taps }} taps at once.
//
// The rows of an image are laid end to end, with room for the padding between them: `pitch` columns from one to the next,
// so that a run of places goes on in the next row and few are wasted. Places of a run are `apart` from each other, and the
// values that they need `unit` columns, so that neighbouring places share values at any dilation.
@group(0) @binding(0) var<storage, read_write> x: array<f32>;      // [B, G, C, H, W]
@group(0) @binding(1) var<storage, read_write> kernel: array<f32>; // strides in info
@group(0) @binding(2) var<storage, read_write> bias: array<f32>;   // [G, O], where info says so
@group(0) @binding(3) var<storage, read_write> y: array<f32>;      // [B, G, O, target rows, target columns]
// See `Gather::words` and `Layout::words`.
@group(0) @binding(4) var<storage, read_write> info: array<i32>;

@compute @workgroup_size({{ lanes }}, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let n = i32(id.x + id.y * {{ run_row }}u);
    if n >= info[34] { return; }
    let channels = info[1];
    let outputs = info[2];
    let height = info[3];
    let width = info[4];
    let pitch = info[29];
    let unit = info[30];
    let apart = info[31];
    let lead = info[35];
    let run = n % info[32];
    let group = i32(id.z);
    let image_group = n / (info[32] * info[33]) * info[27] + group;
    let first_output = n / info[32] % info[33] * {{ outputs }};
    let places_pitch = pitch / info[10];
    let first = run / apart * apart * {{ places }} + run % apart;
    let first_row = first / places_pitch;
    let first_column = first % places_pitch * info[10] + info[36];
    // Outputs that there are not repeat the last one.
    {{ rows }}
    {{ declare }}
    for (var i = 0; i < info[7]; i++) {
        for (var j = 0; j < info[8]; j += {{ taps }}) {
            var row = first_row;
            var column = first_column + j * info[12];
            if column >= pitch {
                column -= pitch;
                row += 1;
            }
            // Where the values of the run are in a plane, -1 where there is none.
            {{ find }}
            for (var c = 0; c < channels; c++) {
                let plane = (image_group * channels + c) * height * width;
                let weights = group * info[21] + c * info[23] + i * info[24] + j * info[25] + info[26];
                {{ load }}
                {{ add }}
            }
        }
    }
    let area = info[15] * info[16];
    let start = image_group * outputs * area;
    {{ store }}
}
