// A convolution by its definition, for `belamy lab conv2d.wgsl --op conv2d`: an invocation owns an element of y.
// belamy: blocks = ceil_div(elements, 256)

struct Conv2dParams {
    batch: u32,
    in_height: u32,
    in_width: u32,
    in_channels: u32,
    out_height: u32,
    out_width: u32,
    out_channels: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride_height: u32,
    stride_width: u32,
    padding_top: u32,
    padding_left: u32,
    dilation_height: u32,
    dilation_width: u32,
    groups: u32,
}
struct Run {
    elements: u32,
    unused_0: u32,
    unused_1: u32,
    unused_2: u32,
    params: Conv2dParams,
}
@group(0) @binding(16) var<uniform> run: Run;
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(8) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn belamy_conv2d(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + local;
    if (i >= run.elements) {
        return;
    }
    let p = run.params;
    let o = i % p.out_channels;
    let ow = i / p.out_channels % p.out_width;
    let oh = i / p.out_channels / p.out_width % p.out_height;
    let n = i / p.out_channels / p.out_width / p.out_height;
    let in_group = p.in_channels / p.groups;
    let first = o / (p.out_channels / p.groups) * in_group;
    var sum = 0.0;
    for (var kh = 0u; kh < p.kernel_height; kh++) {
        // Above and left of the image the difference is huge.
        let ih = oh * p.stride_height + kh * p.dilation_height - p.padding_top;
        for (var kw = 0u; kw < p.kernel_width; kw++) {
            let iw = ow * p.stride_width + kw * p.dilation_width - p.padding_left;
            if (ih >= p.in_height || iw >= p.in_width) {
                continue;
            }
            let pixel = ((n * p.in_height + ih) * p.in_width + iw) * p.in_channels + first;
            let tap = ((o * p.kernel_height + kh) * p.kernel_width + kw) * in_group;
            for (var c = 0u; c < in_group; c++) {
                sum += x[pixel + c] * w[tap + c];
            }
        }
    }
    y[i] = sum;
}
