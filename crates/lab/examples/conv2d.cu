// A convolution by its definition, for `belamy lab conv2d.cu --op conv2d`: a thread owns an element of y.
// belamy: blocks = ceil_div(elements, 256), threads = 256

struct Conv2dParams {
    unsigned batch, in_height, in_width, in_channels, out_height, out_width, out_channels;
    unsigned kernel_height, kernel_width, stride_height, stride_width;
    unsigned padding_top, padding_left, dilation_height, dilation_width, groups;
};

extern "C" __global__ void belamy_conv2d(Conv2dParams p, const float* x, const float* w, float* y)
{
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= p.batch * p.out_height * p.out_width * p.out_channels) return;
    const unsigned o = i % p.out_channels, ow = i / p.out_channels % p.out_width;
    const unsigned oh = i / p.out_channels / p.out_width % p.out_height, n = i / p.out_channels / p.out_width / p.out_height;
    const unsigned in_group = p.in_channels / p.groups, first = o / (p.out_channels / p.groups) * in_group;
    float sum = 0.0f;
    for (unsigned kh = 0; kh < p.kernel_height; kh++) {
        const unsigned ih = oh * p.stride_height + kh * p.dilation_height - p.padding_top;
        for (unsigned kw = 0; kw < p.kernel_width; kw++) {
            const unsigned iw = ow * p.stride_width + kw * p.dilation_width - p.padding_left;
            // Above and left of the image the difference is huge.
            if (ih >= p.in_height || iw >= p.in_width) continue;
            const float* pixel = x + ((n * p.in_height + ih) * p.in_width + iw) * p.in_channels + first;
            const float* tap = w + ((o * p.kernel_height + kh) * p.kernel_width + kw) * in_group;
            for (unsigned c = 0; c < in_group; c++) sum += pixel[c] * tap[c];
        }
    }
    y[i] = sum;
}
